"""The names of a job's variables; and its environment as a file of lines `NAME=value`, as containers take it.

What no such line can hold travels encoded, under names that mean nothing to anybody, and a shell in the job puts it in
its place: nothing that a deployment names is ever a variable of the program that starts the container.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from generic_worker.errors import VariableError

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_FOR_SHELLS = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "OPTIND", "PPID", "SHELLOPTS", "UID"})
"""Variables that some shell refuses to set, and may end because of it. Another program has to set them."""
MARKS = frozenset({"GENERIC_WORKER_JOB", "GENERIC_WORKER_QUEUED"})
"""Variables by which recipes find a job's processes. A flow that hands on its whole environment does not mean them."""
NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]*$(?!\n)"
"""What names of a job's variables may be, for Python and for JSON Schema, in which `$` is the very end already."""
_NAME_RE = re.compile(NAME_PATTERN)
_SHELL_NAME_RE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PREFIX = "GENERIC_WORKER_ENV_"
_LONGEST_LINE = 15_000
"""Characters of a value in a line: podman and docker read lines of at most 64 KiB."""
_SPECIAL = r"""\x00-\x1f\x7f"'`\\#"""
"""What some version of podman or docker reads as something else than a character of the value."""
_NOT_PLAIN_RE = re.compile(rf"[{_SPECIAL}]|^\s|\s\Z")

_DECODER = f"""\
{_PREFIX}N=0 {_PREFIX}TEXT=
while {_PREFIX}N=$(({_PREFIX}N + 1)); eval "{_PREFIX}PIECE=\\${{{_PREFIX}${_PREFIX}N-}}"; [ "${_PREFIX}PIECE" ]; do
  unset "{_PREFIX}${_PREFIX}N"
  {_PREFIX}TEXT=${_PREFIX}TEXT${{{_PREFIX}PIECE#?}}
  case ${_PREFIX}PIECE in
    .*) {_PREFIX}TEXT=$(printf '%b.' "${_PREFIX}TEXT"); export "${{{_PREFIX}TEXT%.}}"; {_PREFIX}TEXT= ;;
  esac
done
unset {_PREFIX}N {_PREFIX}TEXT {_PREFIX}PIECE
exec "$@"
"""
"""What puts the values back. A piece begins with `+` when it goes on in the next one, and with `.` when it does not."""


LABEL_PATTERN = r"^(?!(prefect-)?generic-worker)[^\x00-\x1f\x7f=,]+$(?!\n)"
"""What names of a job's labels may be. Those by which the worker knows its jobs are its own."""
_LABEL_RE = re.compile(LABEL_PATTERN, re.IGNORECASE)


def checked_labels(labels: Mapping[str, Any]) -> None:
    """Refuse what is no name of a label, or one of those by which the worker knows its jobs.

    Raises:
        VariableError: With the name.
    """
    for name in labels:
        if not _LABEL_RE.search(name):
            raise VariableError(
                f"labels: {name!r} cannot be the name of a label. It may not begin with generic-worker or "
                "prefect-generic-worker, nor hold '=', ',' or control characters."
            )


def checked_names(env: Mapping[str, Any]) -> None:
    """Refuse what is no name of a variable: in a file it could be another line, or a name without a value.

    Raises:
        VariableError: With the name.
    """
    for name in env:
        if not _NAME_RE.search(name):
            raise VariableError(
                f"env: {name!r} is not the name of a variable. Use letters, digits, underscores, dots and dashes."
            )


def shell_name(name: str) -> str:
    """An environment variable's name, if a shell can set it.

    Raises:
        VariableError: It cannot.
    """
    if not _SHELL_NAME_RE.fullmatch(name):
        raise VariableError(f"env: {name!r} cannot be set by a shell. Use letters, digits and underscores.")
    return name


def env_file(value: Mapping[str, Any]) -> str:
    """`${env | env_file}`: a mapping as lines `NAME=value`, as `docker run --env-file` reads them.

    Raises:
        VariableError: A name is one of those under which encoded values travel, or one that no shell can set again.
    """
    for name in value:
        if name.startswith(_PREFIX):
            raise VariableError(f"env: names that begin with {_PREFIX} are the worker's own. Rename {name}.")
    plain = "".join(f"{name}={item}\n" for name, item in value.items() if item is not None and _is_plain(str(item)))
    pieces = [piece for name, item in _encoded(value).items() for piece in _pieces(name, item)]
    return plain + "".join(f"{_PREFIX}{number}={piece}\n" for number, piece in enumerate(pieces, 1))


def env_decoder(value: Mapping[str, Any]) -> list[str]:
    """`${env | env_decoder}`: the words that stand before a container's command when `env_file` had to encode a value.

    None where it had not: then the image needs no shell.
    """
    return ["sh", "-c", _DECODER, "sh"] if _encoded(value) else []


def _is_plain(text: str) -> bool:
    return len(text) <= _LONGEST_LINE and not _NOT_PLAIN_RE.search(text)


def _encoded(value: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(item) for name, item in value.items() if item is not None and not _is_plain(str(item))}


def _pieces(name: str, value: str) -> list[str]:
    if name in NOT_FOR_SHELLS:
        raise VariableError(f"env: {name} is the shell's own; its value must be short, on one line and without quotes.")
    escaped = re.sub(rf"[\s{_SPECIAL}]", lambda found: "".join(f"\\0{byte:03o}" for byte in found[0].encode()), value)
    text = f"{shell_name(name)}={escaped}"
    starts = range(0, len(text), _LONGEST_LINE)
    return [f"{'+' if at + _LONGEST_LINE < len(text) else '.'}{text[at : at + _LONGEST_LINE]}" for at in starts]
