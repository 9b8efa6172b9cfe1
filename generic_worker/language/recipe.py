"""The recipe, version 1 of the language, as a closed model: what may be written, and what it means.

The field descriptions are the reference: the JSON Schema and the documentation are made from them. This module
checks shapes only; `checks` looks at what the expressions, patterns and examples mean. It runs nothing.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictStr, Tag

from generic_worker.language.expressions import ExpressionError
from generic_worker.language.operations import Cancel, Explain, Find, Operation, Status, Submit, Watch
from generic_worker.language.structures import names_in
from generic_worker.language.value_types import (
    HOST_NAMES,
    JOB_NAMES,
    Closed,
    Environment,
    FileName,
    Seconds,
    Structure,
    Text,
    VariableName,
    Whole,
    Word,
    kind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

LANGUAGE_VERSION = 1


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


class Resubmit(Closed):
    """Which ends of a job are the infrastructure's doing, so that one more try may help."""

    on: list[Text] = Field(
        min_length=1,
        description="The infrastructure's words for such an end, or its reasons; shell-style globs allowed.",
    )
    times: Whole = Field(1, ge=1, le=100, description="How often a flow run is submitted again.")
    begun: StrictBool = Field(
        default=False, description="Whether also a flow that has begun is submitted again. It begins from its start."
    )

    def covers(self, word: str, reason: str) -> bool:
        """Whether a job that ended with this word, or for this reason, is to be submitted again."""
        return any(fnmatchcase(text, pattern) for text in (word, reason) if text for pattern in self.on)


class Policy(Closed):
    """When to ask, when to try again, when to give up."""

    poll: Seconds = Field(15, ge=1, le=3600, description="Seconds between status queries of jobs in a steady state.")
    batch: Whole = Field(500, ge=1, description="The most jobs that one status command may name.")
    commands: Whole = Field(4, ge=1, le=64, description="The most commands of a worker that may run at once.")
    lost_polls: Whole = Field(3, ge=1, description="Healthy answers in a row without the job before it counts as lost.")
    lost_after: Seconds = Field(60, ge=0, description="Seconds without the job before it counts as lost.")
    absent: Literal["lost", "ended"] = Field(
        "lost",
        description="What a job is that a complete answer does not name: `lost`, or `ended` where the tool lists only "
        "what is there. Then nobody knows how it ended, and the flow run's own report counts.",
    )
    grace: Seconds = Field(30, ge=0, description="Seconds that a cancelled job is given before the next cancel step.")
    visible_after: Seconds = Field(5, ge=0, description="Seconds after which a new job is sure to be found by its key.")
    retry_for: Seconds = Field(
        600, ge=0, description="Seconds for which a submission that failed for a passing reason is tried again."
    )
    find_for: Seconds | None = Field(
        None,
        ge=0,
        description="Seconds for which a find that does not answer is asked again; then the flow run is Crashed, and "
        "its job may exist. Without limit when left out.",
    )
    pending_for: Seconds | None = Field(
        None,
        gt=0,
        description="Seconds for which a job may wait to be started; then it is cancelled, and its flow run Crashed. "
        "Without limit when left out.",
    )
    resubmit: Resubmit | None = Field(
        None, description="When a job is submitted again whose end was the infrastructure's doing. Never when left out."
    )


class Example(Closed):
    """Real output of one command, and how it must be read. `generic-worker check` holds it to that."""

    of: StrictStr = Field(
        description="The operation: submit, find, watch, explain, status, or status[1] for the second of a list."
    )
    stdout: StrictStr = Field("", description="What the command printed.")
    stderr: StrictStr = Field("", description="What it printed on standard error.")
    exit: Whole = Field(0, description="Its exit code.")
    expect: Any = Field(
        description="For status: job id to state, absent or unknown. For watch: the ids or keys of the jobs that may "
        "have changed, or null for any. For the others: the fields; or for submit one of refused, transient, "
        "ambiguous, and for find and explain null when nothing is found."
    )


StateName = Literal["pending", "running", "succeeded", "failed", "cancelled", "finished", "elsewhere"]
Statuses = Annotated[
    Annotated[Status, Tag("<status>")] | Annotated[list[Status], Field(min_length=1), Tag("<list>")],
    kind(status=dict, list=list),
]
Cancels = Annotated[
    Annotated[Cancel, Tag("<cancel>")] | Annotated[list[Cancel], Field(min_length=1), Tag("<list>")],
    kind(cancel=dict, list=list),
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
        description="Expression for the place where job ids are valid, such as ${worker_host}; everywhere when empty. "
        "${worker_user} is for commands that show a user's own jobs only.",
    )
    env: Environment = Field(
        default_factory=dict,
        description="Environment of the recipe's commands: names to text with ${expressions}.",
    )
    via: Via | None = Field(None, description="What to put in front of every command.")
    script: Script = Field(default_factory=Script, description="How the job script is made.")
    files: dict[FileName, Structure] = Field(
        default_factory=dict,
        description="Private files on the worker's host, by name; `file_<name>` is the path. One that names nothing of "
        "a job is the same file for all jobs.",
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
    watch: Watch | None = Field(
        None,
        description="Stays while there are jobs, and prints a line when one may have changed: then `status` is asked "
        "at once, and otherwise only every `policy.poll` seconds.",
    )
    explain: Explain | None = Field(None, description="Runs once when a job ended other than well.")
    cancel: Cancels = Field(
        description="Ends the job. Of a list, the next step runs when the job is still there after `policy.grace`."
    )
    logs: Operation | None = Field(None, description="Prints the last lines of the job's output.")
    cleanup: Operation | None = Field(
        None,
        description="Runs once for every job that has ended; and after a submission that has left no job, unless it "
        "names the job's id.",
    )
    states: dict[StateName, list[Text]] = Field(
        min_length=1,
        description="Our states to the infrastructure's own words, shell-style globs allowed. `finished` is succeeded "
        "when the exit code is 0 and failed otherwise; `elsewhere` is no end.",
    )
    policy: Policy = Field(default_factory=Policy, description="When to ask, try again and give up.")
    examples: list[Example] = Field(default_factory=list, description="Real output, checked offline.")

    @property
    def statuses(self) -> tuple[Status, ...]:
        """The status commands, in order."""
        return tuple(self.status) if isinstance(self.status, list) else (self.status,)

    @property
    def names_memory(self) -> bool:
        """Whether the infrastructure says it when it kills a job for too much memory."""
        return self.explain is not None and self.explain.names_memory

    @property
    def cancels(self) -> tuple[Cancel, ...]:
        """The cancel steps, in order."""
        return tuple(self.cancel) if isinstance(self.cancel, list) else (self.cancel,)

    def operations(self) -> Iterator[tuple[tuple[str | int, ...], Operation]]:
        """Every command of the recipe, with its path."""
        for key in ("check", "submit", "find", "watch", "explain", "logs", "cleanup"):
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
    def shared_files(self) -> frozenset[str]:
        """The files that name nothing of a job, and so are the same for all jobs."""
        known = {*self.variables, *HOST_NAMES}
        try:
            return frozenset(name for name, content in self.files.items() if names_in(content) <= known)
        except ExpressionError:  # which is reported where it stands
            return frozenset()

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
