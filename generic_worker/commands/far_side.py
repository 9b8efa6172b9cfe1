"""A command behind a transport such as ssh: how it gets there, and which part of what comes back is its own.

A login host greets, before the command and after it, in words that may look like an answer. So a shell on the far side
prints marks around the command's output, on both streams. A mark that is missing at the end says that the connection
was lost before the output was complete.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from generic_worker.language.job_script import assignment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generic_worker.commands.processes import CommandResult
    from generic_worker.commands.programs import Command

_BEGIN, _END = "generic-worker:begin", "generic-worker:end"
_BEGIN_RE = re.compile(_BEGIN + r"\r?\n?")
_MARKS = f"trap 'echo {_END}; echo {_END} >&2' EXIT; echo {_BEGIN}; echo {_BEGIN} >&2; "
_ENVIRONMENT = (
    'unset generic_worker_env; eval "$(IFS= read -r n && dd bs=1 count="$n" 2>/dev/null)"; '
    '[ "${generic_worker_env+x}" ] || { '
    'echo "generic-worker: no standard input arrived: via has to pass it on, as docker exec -i does" >&2; exit 125; }; '
)
"""What sets the environment behind a transport that passes none: its text comes first on standard input."""


def behind(
    near: Sequence[str], argv: Sequence[str], environment: Mapping[str, str], *, shell: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A command behind a transport, as people are shown it, and as it is run: with marks, where a shell is there.

    Args:
        near: The transport's words.
        argv: The command's words.
        environment: The variables that the far side is to set.
        shell: Whether the far side reads its words with a shell.
    """
    read = _ENVIRONMENT if environment else ""
    plain = ["/bin/sh", "-c", f'{read}exec "$@"', "sh", *argv] if environment else argv
    with_marks = ["/bin/sh", "-c", f'{_MARKS}{read}"$@"; exit', "sh", *argv] if environment or shell else argv
    if shell:
        return (*near, shlex.join(plain)), (*near, shlex.join(with_marks))
    return (*near, *plain), (*near, *with_marks)


def assignments(environment: Mapping[str, str]) -> str:
    """The text that a far side evaluates, with its length in bytes before it; empty where there are no variables."""
    exports = "".join(f"export {assignment(name, value)}\n" for name, value in environment.items())
    text = f"{exports}generic_worker_env=\n"
    return f"{len(text.encode())}\n{text}" if environment else ""


def as_run(command: Command) -> Command:
    """The command with its marks, where it has any."""
    return replace(command, argv=command.marked) if command.marked else command


def own_output(command: Command, result: CommandResult) -> CommandResult:
    """The result of a command that was run with marks, without what others printed before and after."""
    if not command.marked:
        return result
    (out, complete), (err, _) = _between(result.stdout), _between(result.stderr)
    return replace(result, command=command, stdout=out, stderr=err, truncated=result.truncated or not complete)


def _between(text: str) -> tuple[str, bool]:
    """What stands between the marks, and whether it is all there. Without the first mark the far side ran no shell."""
    begin = _BEGIN_RE.search(text)
    if begin is None:
        return text, True
    end = text.rfind(_END)
    return (text[begin.end() :], False) if end < begin.end() else (text[begin.end() : end], True)
