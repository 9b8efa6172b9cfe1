"""The kinds of values that a recipe is made of: names, words, patterns, closed mappings; and the names of a job."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StrictStr, Tag
from pydantic_core import PydanticCustomError

JOB_NAMES = {
    "job_id": "The infrastructure's id of the job.",
    "job_ids": "The ids of all the jobs that one command is about, a list.",
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
    "worker_user": "The name of the user as whom the worker runs.",
    "worker_bin": "The directory of the worker's own programs, such as its Python and prefect.",
    "command": "The command that executes the flow run, as one line of text.",
    "env": "The flow run's environment, a mapping. It holds secrets.",
    "labels": "The job's labels, a mapping.",
}
"""What every recipe's expressions may name, beside its variables, `job_<field>` and `file_<name>`."""

HOST_NAMES = frozenset({"worker_host", "worker_user", "worker_bin", "jobs_dir"})
"""Those of them that have a value without a job."""

ABOUT_MANY = frozenset({"status", "explain", "cleanup"})
"""The operations whose command may be about many jobs: `job_ids`."""

_RESERVED = frozenset({
    "name", "recipe", "variables",  # of the base job template
    "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",  # programs read them
    "and", "else", "false", "if", "in", "is", "none", "not", "or", "true",  # of expressions
})  # fmt: skip
_VARIABLE_NAME_RE = re.compile(r"[a-z][a-z0-9_]*")
_ENV_NAME_RE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def kind(**tags: type) -> Discriminator:
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
    kind(word=str, group=list),
]
Run = Annotated[
    Annotated[StrictStr, Field(min_length=1), Tag("<script>")]
    | Annotated[list[Word], Field(min_length=1), Tag("<arguments>")],
    kind(script=str, arguments=list),
]
Structure = Annotated[Any, Field(json_schema_extra={"type": ["string", "object", "array"]})]
Environment = dict[EnvironmentName, Text]
"""Its names are the recipe's own: what a deployment named would change how programs on the worker's host run."""

Seconds = Annotated[float, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]


class Closed(BaseModel):
    """A mapping of the language: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
