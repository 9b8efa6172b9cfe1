"""A recipe's commands as closed models: what each may be told, and how its output is read."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictStr, Tag, model_validator
from pydantic_core import PydanticCustomError

from generic_worker.language.patterns import SlowPatternError, fullmatch, time_limit
from generic_worker.language.value_types import (
    Closed,
    Environment,
    FieldName,
    Pattern,
    Run,
    Seconds,
    Structure,
    Text,
    kind,
)

_CLAIM_SECONDS = 0.05
"""Seconds for a look at a value that a deployment has given: nothing else happens meanwhile."""
_NO_PLAIN_ARGUMENT = ("-", "@", "file:", "fileb:")
"""How an option begins, and what some command lines (`az`, `aws`) take for the content of a file."""


class JsonField(Closed):
    """How to read one field of a JSON record when a path alone does not do."""

    path: StrictStr = Field(description="JSONPath, relative to the record.")
    default: Text | None = Field(None, description="What to use where the path finds nothing.")
    regex: Pattern | None = Field(
        None, description="Pattern to search in what was found; its first group is the value, or its whole match."
    )


JsonPath = Annotated[
    Annotated[StrictStr, Tag("<path>")] | Annotated[JsonField, Tag("<field>")], kind(path=str, field=dict)
]
JsonPaths = Annotated[
    Annotated[StrictStr, Tag("<path>")]
    | Annotated[list[JsonPath], Field(min_length=1), Tag("<paths>")]
    | Annotated[JsonField, Tag("<field>")],
    kind(path=str, paths=list, field=dict),
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
        description="With `json`: field name to JSONPath relative to the record, to {path, default, regex}, or to a "
        "list of these, of which the first that finds something counts.",
    )
    columns: list[FieldName] | None = Field(
        None, min_length=1, description="Field names, in the order of each line's columns. Every line is a record."
    )
    separator: StrictStr | None = Field(
        None, min_length=1, description="With `columns`: what stands between them; white space when left out."
    )
    from_: Literal["stdout", "stderr"] = Field("stdout", alias="from", description="The stream to read.")
    id_: Literal["${job_key}"] | None = Field(
        None,
        alias="id",
        description="Of submit and find: `${job_key}` where the key that the job was submitted with is its id. Then "
        "the output need not have one, and a command whose exit code says all needs none of the three.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Output:
        given = [k for k, v in {"regex": self.regex, "json": self.json_path, "columns": self.columns}.items() if v]
        if len(given) != 1 and (given or not self.id_):
            found = "found none" if not given else f"found {' and '.join(given)}"
            raise PydanticCustomError("kind", "write exactly one of regex, json and columns; {found}", {"found": found})
        if bool(self.json_path) != bool(self.fields):
            raise PydanticCustomError("kind", "write json and fields together")
        if self.separator and not self.columns:
            raise PydanticCustomError("kind", "write separator with columns only")
        return self

    def can_yield(self, field: str, value: str) -> bool:
        """Whether a value may be one of this output's. None is taken for an option, a file, or more than one line."""
        if (
            field not in self.field_names
            or value.startswith(_NO_PLAIN_ARGUMENT)
            or not value.isprintable()
            or " " in value
        ):
            return False
        group = _group(self.regex, field) if self.regex else ""
        try:
            with time_limit(_CLAIM_SECONDS):
                return not group or fullmatch(group, value) is not None
        except SlowPatternError:
            return False

    @property
    def field_names(self) -> frozenset[str]:
        """The fields that a record may have."""
        groups = re.compile(self.regex, re.MULTILINE).groupindex if self.regex else ()
        return frozenset({*(["id"] if self.id_ else []), *groups, *(self.columns or self.fields or ())})

    @property
    def reads(self) -> bool:
        """Whether there is anything to read; otherwise the exit code 0 says that there is the job."""
        return bool(self.regex or self.columns or self.json_path)


def _group(pattern: str, name: str) -> str:
    """What stands in a named group of a pattern."""
    start = pattern.index(f"(?P<{name}>") + len(f"(?P<{name}>")
    depth = 0
    for found in re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()]").finditer(pattern, start):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth < 0:
            return pattern[start : found.start()]
    return ""


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
    refused: Pattern | None = Field(
        None, description="Pattern in the output of a failed submission that proves that nothing was done."
    )
    transient: Pattern | None = Field(
        None, description="Pattern in the output of a failed submission that says that trying again can help."
    )


_EMPTY = (
    "Pattern in an output without any job: the answer is complete, and there are no jobs, whatever the exit code is."
)


class Find(Operation):
    """Looks up the id of a job whose submission was not answered, by its key."""

    output: Output = Field(description="Must yield `id`, and `key` unless the command asks for one key only.")
    absent: Pattern | None = Field(None, description="Pattern in a failed command's output: there is no such job.")
    empty: Pattern | None = Field(None, description=_EMPTY)


class Status(Operation):
    """Asks for the state of jobs: of one (`job_id`), of many (`job_ids`), or of all there are (neither)."""

    output: Output = Field(description="Must yield `state`, and `id` or `key` unless it asks for one job only.")
    absent: Pattern | None = Field(
        None,
        description="Pattern in a failed command's output that proves that a job does not exist; with a group `id` "
        "it names the job.",
    )
    empty: Pattern | None = Field(None, description=_EMPTY)
    optional: StrictBool = Field(
        default=False,
        description="Whether the site may lack this source: its failures then prove nothing and warn nobody.",
    )
    history: StrictBool = Field(
        default=False,
        description="Whether only its ends count. Records of jobs that have ended may be late, or stay open for ever: "
        "what they call alive is not known to live.",
    )


class Explain(Operation):
    """Tells more about jobs that ended other than well, of one (`job_id`) or of many (`job_ids`)."""

    output: Output = Field(description="May yield `exit_code`, `signal` and `reason`; of many jobs it must yield `id`.")
    names_memory: StrictBool = Field(
        default=False,
        description="Whether the reason says it when a job was killed for too much memory: then no other kill is taken "
        "for that.",
    )


class Cancel(Operation):
    """One step of ending a job."""

    absent: Pattern | None = Field(None, description="Pattern in a failed command's output: there is no such job.")


class Watch(Operation):
    """Stays, and prints a line whenever a job may have changed. It only hurries: `status` says what it is."""

    output: Output | None = Field(
        None,
        description="Yields the `id` or the `key` of the job that a line is about. Without it, and where a line cannot "
        "be read, any job may have changed.",
    )
    timeout: Seconds = Field(
        3600,
        gt=0,
        le=86400,
        description="Seconds after which the command is started again: its connection may have died without a word.",
    )
