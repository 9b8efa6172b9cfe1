"""Every exception that this package raises.

GenericWorkerError
├── RecipeError          the recipe is wrong: its author must change it
├── VariableError        a job variable is wrong: the flow's author must change it
├── CommandError         a command could not be started
│   ├── CommandNotFound  its program is not on this machine, or cannot be executed
│   └── CommandOverdue   its turn came too late
├── OutputError          a command answered, and the recipe cannot read the answer
├── SubmitError          a job was not submitted, or nobody can say whether it was
│   └── AttemptLostError its flow run is another worker's by now, or needs no job any more
├── PoolError            a work pool is not there, or is not fit for what is wanted of it
└── BundleError          a flow that was sent without a deployment cannot be stored or fetched
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def visible(text: str) -> str:
    """A text without what a terminal would obey: names, reasons and recipes are other people's."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


class GenericWorkerError(Exception):
    """Base of all errors of this package; its text is meant for people."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a recipe, and where.

    Attributes:
        file: The file's name as its author knows it, or a name such as `<base job template>`.
        line: Line in that file, from 1; 0 when the recipe has no text (a mapping in a template).
        column: Column in that line, from 1; 0 when unknown.
        key: Path of the key, such as `submit.output.regex`; empty for the document itself.
        message: What was found and what to write instead.
    """

    file: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return visible(f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}")


class RecipeError(GenericWorkerError):
    """A recipe cannot be used. All its problems are listed, in the order of the file.

    Attributes:
        problems: What is wrong, sorted by file and line.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class VariableError(GenericWorkerError):
    """A job variable has a value that the recipe cannot use."""


class CommandError(GenericWorkerError):
    """A command could not be started; nothing has run."""


class CommandNotFound(CommandError):
    """The command's program is not on PATH, or is not executable."""


class CommandOverdue(CommandError):
    """What a command was to be started for did not hold any more when its turn had come; nothing has run."""


class OutputError(GenericWorkerError):
    """The output of a command is not what the recipe says it is."""


class SubmitError(GenericWorkerError):
    """A job was not submitted.

    Attributes:
        ambiguous: Whether the job may exist all the same.
    """

    def __init__(self, message: str, *, ambiguous: bool = False) -> None:
        super().__init__(message)
        self.ambiguous = ambiguous


class AttemptLostError(SubmitError):
    """A worker has not done what it was about to do, because a flow run does not count on its job any more.

    What there is of the job may be another worker's, and is left alone.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, ambiguous=True)


class PoolError(GenericWorkerError):
    """A work pool is not there, or is not fit for what is wanted of it."""


class BundleError(GenericWorkerError):
    """A flow that was sent without a deployment cannot be stored in the shared directory, or fetched from it."""
