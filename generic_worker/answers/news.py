"""What a watch command prints in, which jobs may have changed out. Pure: it runs nothing, and concludes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from generic_worker.answers.records import read
from generic_worker.errors import OutputError
from generic_worker.language.patterns import SlowPatternError, time_limit

if TYPE_CHECKING:
    from generic_worker.language.operations import Output

Changed: TypeAlias = "frozenset[str] | None"
"""The ids and keys of jobs that may have changed; None when it may be any."""

_SECONDS = 0.2  # of processor time that reading a piece may take
_MUCH = 32768  # bytes; a longer line is about no job, and after a longer piece (a pipe holds 64 KiB) more is waiting


def changed(output: Output | None, text: str) -> Changed:
    """The jobs that some lines are about. A line that cannot be read may be about any."""
    if not text.strip():
        return frozenset()
    if output is None:
        return None
    try:
        with time_limit(_SECONDS):
            found = read(output, text, text)
    except (OutputError, SlowPatternError):
        return None
    names = [{name for name in (record.get("id"), record.get("key")) if name} for record in found.records]
    if found.unread.strip() or not found.complete or not all(names):
        return None
    return frozenset().union(*names)


class Lines:
    """Puts the pieces of a stream together to lines, and reads those that are whole.

    Args:
        output: How to read a line; None when all that matters is that there is one.
    """

    def __init__(self, output: Output | None) -> None:
        self._output = output
        self._rest = b""

    def take(self, piece: bytes) -> Changed:
        """Take a piece of the stream; returns whose jobs its lines say may have changed."""
        whole, line_break, rest = (self._rest + piece).rpartition(b"\n")
        self._rest = rest
        if max(len(piece), len(rest)) >= _MUCH:
            self._rest = b"" if len(rest) >= _MUCH else rest
            return None
        return changed(self._output, (whole + line_break).decode(errors="replace"))
