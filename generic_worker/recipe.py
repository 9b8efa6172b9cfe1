"""The recipe language, version 1, as closed models: what may be written, and what it means.

The field descriptions are the reference: the JSON Schema and the documentation are made from them. This module
checks shapes only; `checks` looks at what the expressions, patterns and examples mean. It runs nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictStr,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Iterator

LANGUAGE_VERSION = 1

JOB_NAMES = {
    "job_id": "The infrastructure's id of the job.",
    "job_ids": "The ids of all the jobs that one status command is asked about, a list.",
    "job_key": "Our unique name of the job: lower case letters, digits and dashes, at most 63 characters.",
    "job_name": "The job's name for people. It is not unique.",
    "job_script": "The job script: environment, set-up, then the flow run's command. It holds secrets.",
    "job_dir": "A private directory of the job on the worker's host, removed when the job has ended.",
    "jobs_dir": "The directory in which every `job_dir` of this recipe is.",
    "flow_run_id": "The flow run's id.",
    "flow_run_name": "The flow run's name.",
    "flow_name": "The flow's name.",
    "deployment_name": "The deployment's name; null without a deployment.",
    "work_pool_name": "The work pool's name.",
    "worker_host": "The name of the host on which the worker runs.",
    "worker_bin": "The directory of the worker's own programs, such as its Python and prefect.",
    "command": "The command that executes the flow run, as one line of text.",
    "env": "The flow run's environment, a mapping. It holds secrets.",
    "labels": "The job's labels, a mapping.",
}
"""What every recipe's expressions may name, beside its variables, `job_<field>` and `file_<name>`."""

LABEL_FIELDS = frozenset({"id", "state", "exit_code", "signal", "reason", "key", "name"})
"""Fields of a record that have a meaning of their own."""

_RESERVED = frozenset({
    "name", "recipe", "variables",  # of the base job template
    "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",  # programs read them
    "and", "else", "false", "if", "in", "is", "none", "not", "or", "true",  # of expressions
})  # fmt: skip
_VARIABLE_NAME_RE = re.compile(r"[a-z][a-z0-9_]*")
_ENV_NAME_RE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _kind(**tags: type) -> Discriminator:
    """Tell the members of a union apart by the value's plain type, so that one error is one error."""
    fallback = next(iter(tags))
    return Discriminator(
        lambda value: next((f"<{t}>" for t, c in tags.items() if isinstance(value, c)), f"<{fallback}>")
    )


def _integer_as_text(value: object) -> object:
    return str(value) if type(value) is int else value


def _regular_expression(value: str) -> str:
    try:
        re.compile(value, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise PydanticCustomError("pattern", "not a regular expression: {error}", {"error": str(error)}) from error
    return value


def _file_name(name: str) -> str:
    if not _VARIABLE_NAME_RE.fullmatch(name):
        raise PydanticCustomError("name", "a name is lower case letters, digits and underscores, a letter first")
    return name


def _variable_name(name: str) -> str:
    if name in JOB_NAMES or name in _RESERVED or name.startswith(("job_", "file_")):
        raise PydanticCustomError("name", "this name has a meaning of its own: choose another")
    return _file_name(name)


def _environment_name(name: str) -> str:
    if not _ENV_NAME_RE.fullmatch(name):
        raise PydanticCustomError("name", "an environment variable's name is letters, digits and underscores")
    return name


Text = Annotated[StrictStr, BeforeValidator(_integer_as_text), Field(json_schema_extra={"type": ["string", "integer"]})]
Pattern = Annotated[StrictStr, AfterValidator(_regular_expression), Field(json_schema_extra={"format": "regex"})]
VariableName = Annotated[StrictStr, AfterValidator(_variable_name)]
FileName = Annotated[StrictStr, AfterValidator(_file_name)]
EnvironmentName = Annotated[StrictStr, AfterValidator(_environment_name)]
FieldName = Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9_]*$")]

Word = Annotated[
    Annotated[Text, Tag("<word>")] | Annotated[list[Text], Tag("<group>")],
    _kind(word=str, group=list),
]
Run = Annotated[
    Annotated[StrictStr, Field(min_length=1), Tag("<script>")]
    | Annotated[list[Word], Field(min_length=1), Tag("<arguments>")],
    _kind(script=str, arguments=list),
]
Structure = Annotated[Any, Field(json_schema_extra={"type": ["string", "object", "array"]})]


Environment = Annotated[
    Annotated[dict[EnvironmentName, Text], Tag("<mapping>")] | Annotated[StrictStr, Tag("<expression>")],
    _kind(mapping=dict, expression=str),
]


Seconds = Annotated[float, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]


class Closed(BaseModel):
    """A mapping of the language: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JsonField(Closed):
    """How to read one field of a JSON record when a path alone does not do."""

    path: StrictStr = Field(description="JSONPath, relative to the record.")
    default: Text | None = Field(None, description="What to use where the path finds nothing.")
    regex: Pattern | None = Field(
        None, description="Pattern to search in what was found; its first group is the value, or its whole match."
    )


JsonPaths = Annotated[
    Annotated[StrictStr, Tag("<path>")]
    | Annotated[list[StrictStr], Field(min_length=1), Tag("<paths>")]
    | Annotated[JsonField, Tag("<field>")],
    _kind(path=str, paths=list, field=dict),
]


class Output(Closed):
    """How to read records from what a command printed: by `regex`, `json` or `columns`."""

    regex: Pattern | None = Field(
        None, description="Pattern with named groups. Every match in the output is a record, every group a field."
    )
    json_path: StrictStr | None = Field(
        None, alias="json", description="JSONPath that selects the records in each JSON document of the output."
    )
    fields: dict[FieldName, JsonPaths] | None = Field(
        None,
        description="With `json`: field name to JSONPath relative to the record, to a list of them of which the "
        "first that finds something counts, or to {path, default, regex}.",
    )
    columns: list[FieldName] | None = Field(
        None, min_length=1, description="Field names, in the order of each line's columns. Every line is a record."
    )
    separator: StrictStr | None = Field(
        None, min_length=1, description="With `columns`: what stands between them; white space when left out."
    )
    from_: Literal["stdout", "stderr"] = Field("stdout", alias="from", description="The stream to read.")

    @model_validator(mode="after")
    def _one_kind(self) -> Output:
        given = [k for k, v in {"regex": self.regex, "json": self.json_path, "columns": self.columns}.items() if v]
        if len(given) != 1:
            found = "found none" if not given else f"found {' and '.join(given)}"
            raise PydanticCustomError("kind", "write exactly one of regex, json and columns; {found}", {"found": found})
        if bool(self.json_path) != bool(self.fields):
            raise PydanticCustomError("kind", "write json and fields together")
        if self.separator and not self.columns:
            raise PydanticCustomError("kind", "write separator with columns only")
        return self

    @property
    def field_names(self) -> frozenset[str]:
        """The fields that a record may have."""
        if self.regex:
            return frozenset(re.compile(self.regex, re.MULTILINE).groupindex)
        return frozenset(self.columns or self.fields or ())


class Operation(Closed):
    """One command of a recipe."""

    run: Run = Field(
        description="A list is an argument vector without a shell, with ${expressions} in its words. Text is a "
        "script for /bin/sh, in which every name is a shell variable and nothing is substituted."
    )
    stdin: Structure = Field(
        None, description="Standard input: text with ${expressions}, or a structure that becomes JSON."
    )
    env: Environment = Field(
        default_factory=dict, description="Environment of this command, on top of the recipe's `env`."
    )
    timeout: Seconds = Field(60, gt=0, le=86400, description="Seconds after which the command is stopped.")
    trouble: Pattern | None = Field(
        None,
        description="Pattern in the output that says that the answer is not complete although the command exited with "
        "0: what was printed counts, and nothing follows from what was not.",
    )


class Submit(Operation):
    """Hands the job to the infrastructure and prints its id."""

    output: Output = Field(description="Must yield `id`. Other fields become `job_<field>` in later commands.")
    transient: Pattern | None = Field(
        None, description="Pattern in the output of a failed submission that says that trying again can help."
    )


class Find(Operation):
    """Looks up the id of a job whose submission was not answered, by its key."""

    output: Output = Field(description="Must yield `id`, and `key` unless the command asks for one key only.")
    absent: Pattern | None = Field(None, description="Pattern in a failed command's output: there is no such job.")


class Status(Operation):
    """Asks for the state of jobs: of one (`job_id`), of many (`job_ids`), or of all there are (neither)."""

    output: Output = Field(description="Must yield `state`, and `id` or `key` unless it asks for one job only.")
    absent: Pattern | None = Field(
        None,
        description="Pattern in a failed command's output that proves that a job does not exist; with a group `id` "
        "it names the job.",
    )
    optional: StrictBool = Field(
        default=False,
        description="Whether the site may lack this source: its failures then prove nothing and warn nobody.",
    )


class Explain(Operation):
    """Tells more about one job that ended other than well: `exit_code`, `signal`, `reason`."""

    output: Output = Field(description="May yield `exit_code`, `signal` and `reason`.")


class Cancel(Operation):
    """One step of ending a job."""

    absent: Pattern | None = Field(None, description="Pattern in a failed command's output: there is no such job.")


class Via(Closed):
    """What stands in front of every command: a login node, another user, a container."""

    run: list[Word] = Field(min_length=1, description="Argument vector to put in front.")
    quote: StrictBool = Field(
        default=False, description="Whether the far side reads its arguments with a shell, as ssh does."
    )
    unreachable: list[Whole] = Field(
        default_factory=list, description="Exit codes that are the transport's own; then nothing is known of the job."
    )


class Script(Closed):
    """The job script that the worker writes."""

    interpreter: StrictStr = Field(
        "/bin/sh", pattern=r"^/\S", description="What runs the script, with its options; a POSIX shell."
    )
    before: StrictStr = Field(
        "", description="Shell lines before the flow run's command. Variables are shell variables here."
    )


class Policy(Closed):
    """When to ask, when to try again, when to give up."""

    poll: Seconds = Field(15, ge=1, le=3600, description="Seconds between status queries of jobs in a steady state.")
    batch: Whole = Field(500, ge=1, description="The most jobs that one status command may name.")
    commands: Whole = Field(4, ge=1, le=64, description="The most commands of a worker that may run at once.")
    lost_polls: Whole = Field(3, ge=1, description="Healthy answers in a row without the job before it counts as lost.")
    lost_after: Seconds = Field(60, ge=0, description="Seconds without the job before it counts as lost.")
    grace: Seconds = Field(30, ge=0, description="Seconds that a cancelled job is given before the next cancel step.")
    visible_after: Seconds = Field(5, ge=0, description="Seconds after which a new job is sure to be found by its key.")
    retry_for: Seconds = Field(
        600, ge=0, description="Seconds for which a submission that failed for a passing reason is tried again."
    )


class Example(Closed):
    """Real output of one command, and how it must be read. `generic-worker check` holds it to that."""

    of: StrictStr = Field(
        description="The operation: submit, find, explain, status, or status[1] for the second of a list."
    )
    stdout: StrictStr = Field("", description="What the command printed.")
    stderr: StrictStr = Field("", description="What it printed on standard error.")
    exit: Whole = Field(0, description="Its exit code.")
    expect: Any = Field(
        description="For status: job id to state, absent or unknown. For the others: the fields; or for submit one of "
        "refused, transient, ambiguous, and for find and explain null when nothing is found."
    )


StateName = Literal["pending", "running", "succeeded", "failed", "cancelled", "finished"]
Statuses = Annotated[
    Annotated[Status, Tag("<status>")] | Annotated[list[Status], Field(min_length=1), Tag("<list>")],
    _kind(status=dict, list=list),
]
Cancels = Annotated[
    Annotated[Cancel, Tag("<cancel>")] | Annotated[list[Cancel], Field(min_length=1), Tag("<list>")],
    _kind(cancel=dict, list=list),
]


class Recipe(Closed):
    """How to run jobs on some infrastructure: its commands, and how to read them."""

    recipe: Literal[1] = Field(description="Version of the recipe language.")
    name: StrictStr = Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=40, description="The recipe's name.")
    description: StrictStr = Field("", description="What it does, in one sentence.")
    documentation: StrictStr = Field("", description="Address of the infrastructure's own documentation.")
    verified: dict[StrictStr, StrictStr] = Field(default_factory=dict, description="What it was tried with, and how.")
    extends: StrictStr | None = Field(None, description="Recipe to start from: its name, or a path.")
    requires: list[StrictStr] = Field(default_factory=list, description="Programs that must be on the worker's PATH.")
    variables: dict[VariableName, dict[str, Any]] = Field(
        default_factory=dict,
        description="What a deployment may set: JSON Schema properties, which become the work pool's form, or {block: "
        "slug} for a credentials block.",
    )
    required: list[StrictStr] = Field(default_factory=list, description="Variables that have to be given.")
    scope: StrictStr = Field(
        "",
        description="Expression for the place where job ids are valid, such as ${worker_host}; everywhere when empty.",
    )
    env: Environment = Field(
        default_factory=dict,
        description="Environment of the recipe's commands: names to text with ${expressions}, or one expression.",
    )
    via: Via | None = Field(None, description="What to put in front of every command.")
    script: Script = Field(default_factory=Script, description="How the job script is made.")
    files: dict[FileName, Structure] = Field(
        default_factory=dict, description="Private files on the worker's host, by name; `file_<name>` is the path."
    )
    check: Operation | None = Field(
        None, description="A command that exits with 0 when the infrastructure can be used."
    )
    submit: Submit = Field(description="Submits the job.")
    find: Find | None = Field(None, description="Finds a job by its key.")
    status: Statuses = Field(
        description="Asks for states. Of a list, each further command is asked only about jobs that the ones before "
        "did not report."
    )
    explain: Explain | None = Field(None, description="Runs once when a job ended other than well.")
    cancel: Cancels = Field(
        description="Ends the job. Of a list, the next step runs when the job is still there after `policy.grace`."
    )
    logs: Operation | None = Field(None, description="Prints the last lines of the job's output.")
    cleanup: Operation | None = Field(None, description="Runs once for every job that has ended.")
    states: dict[StateName, list[Text]] = Field(
        min_length=1,
        description="Our states to the infrastructure's own words, shell-style globs allowed. `finished` is succeeded "
        "when the exit code is 0 and failed otherwise.",
    )
    policy: Policy = Field(default_factory=Policy, description="When to ask, try again and give up.")
    examples: list[Example] = Field(default_factory=list, description="Real output, checked offline.")

    @property
    def statuses(self) -> tuple[Status, ...]:
        """The status commands, in order."""
        return tuple(self.status) if isinstance(self.status, list) else (self.status,)

    @property
    def cancels(self) -> tuple[Cancel, ...]:
        """The cancel steps, in order."""
        return tuple(self.cancel) if isinstance(self.cancel, list) else (self.cancel,)

    def operations(self) -> Iterator[tuple[tuple[str | int, ...], Operation]]:
        """Every command of the recipe, with its path."""
        for key in ("check", "submit", "find", "explain", "logs", "cleanup"):
            operation = getattr(self, key)
            if operation is not None:
                yield (key,), operation
        for key, several in (("status", self.status), ("cancel", self.cancel)):
            if isinstance(several, list):
                yield from (((key, number), operation) for number, operation in enumerate(several))
            else:
                yield (key,), several

    @property
    def names(self) -> frozenset[str]:
        """Everything that an expression of this recipe may name."""
        captured = self.submit.output.field_names - {"id", "key", "name"}
        return frozenset({
            *JOB_NAMES, *self.variables,
            *(f"job_{name}" for name in captured), *(f"file_{name}" for name in self.files),
        })  # fmt: skip

    @property
    def blocks(self) -> dict[str, str]:
        """The variables that are credentials blocks: name to block type slug."""
        return {name: schema["block"] for name, schema in self.variables.items() if "block" in schema}

    @property
    def passwords(self) -> frozenset[str]:
        """The variables whose schema says that their values are not to be seen."""
        schemas = self.variables.items()
        return frozenset(
            n for n, schema in schemas if schema.get("format") == "password" or schema.get("writeOnly") is True
        )


def language_schema() -> dict[str, Any]:
    """The language as JSON Schema, for editors. A recipe that extends another may leave out, remove and append."""
    full = Recipe.model_json_schema()
    definitions = _for_editors({**full.pop("$defs"), "Recipe": full})
    site = {f"Site{name}": _overlay(schema) for name, schema in definitions.items()}
    site["SiteRecipe"] |= {"required": ["recipe", "name", "extends"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of prefect-generic-worker",
        "description": full["description"],
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/SiteRecipe"},
        "else": {"$ref": "#/$defs/Recipe"},
        "$defs": {**definitions, **site},
    }


def _for_editors(node: Any) -> Any:  # noqa: ANN401
    """A schema without what editors misunderstand: Python's patterns, and a title that only repeats the key."""
    if isinstance(node, list):
        return [_for_editors(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: item for key, item in node.items() if (key, item) != ("format", "regex")}
    return {key: _for_editors(item) for key, item in kept.items() if key != "title" or isinstance(item, dict)}


def _overlay(node: dict[str, Any]) -> dict[str, Any]:
    """What may stand in a recipe that extends another: a part of a mapping, null, or items to append."""
    found = {key: item for key, item in node.items() if key not in {"required", "oneOf", "anyOf"}}
    if "$ref" in found:
        found["$ref"] = found["$ref"].replace("#/$defs/", "#/$defs/Site")
    if found.get("type") == "array":
        append = {
            "type": "object",
            "properties": {"append": found},
            "required": ["append"],
            "additionalProperties": False,
        }
        return {"anyOf": [found, append]}
    options = node.get("oneOf", node.get("anyOf", []))
    if options:
        found["anyOf"] = [_overlay(option) for option in options]
    for key in ("properties", "patternProperties"):
        if key in found:
            found[key] = {name: _removable(item) for name, item in found[key].items()}
    if isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = _removable(found["additionalProperties"])
    return found


def _removable(node: dict[str, Any]) -> dict[str, Any]:
    about = {key: item for key, item in node.items() if key in {"description", "default"}}
    found = _overlay({key: item for key, item in node.items() if key not in about})
    options = found["anyOf"] if set(found) == {"anyOf"} else [found]
    return {**about, "anyOf": [*(option for option in options if option != {"type": "null"}), {"type": "null"}]}
