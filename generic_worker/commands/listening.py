"""A command that stays: what it prints is handed on in pieces, and not kept.

It is read a few times a second and 64 KiB at a time. A program that prints more has to wait, as with any full pipe: so
neither it nor the worker can be kept busy by a flood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from generic_worker.commands.processes import Execution, Stream

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from generic_worker.commands.processes import Outcome
    from generic_worker.commands.programs import Command

_PAUSE_S = 0.25  # after each piece; what is printed meanwhile comes in one go
_TAIL = 16384  # bytes that are kept, to say how it ended: more than is shown, as secrets are masked first


class Listening(Execution):
    """A command that stays, from fork to reap, in a thread of its own.

    Args:
        command: The command.
        hear: Called with each piece, in that thread.
        stream: The stream that is heard. The other is read, and dropped.
        report: Called with the outcome.
    """

    tick = 0.5

    def __init__(
        self,
        command: Command,
        hear: Callable[[bytes], None],
        stream: Literal["stdout", "stderr"],
        report: Callable[[Outcome], None],
    ) -> None:
        super().__init__(command, 0, report)
        heard, other = _Piecemeal(hear, self.stop), _Piecemeal(lambda _: None, self.stop)
        self._streams = (heard, other) if stream == "stdout" else (other, heard)


class _Piecemeal(Stream):
    """Hands on what is read, and keeps the end of it."""

    def __init__(self, hear: Callable[[bytes], None], stop: threading.Event) -> None:
        super().__init__(0)
        self._hear = hear
        self._stop = stop
        self._tail = b""

    def keep(self, chunk: bytes) -> None:
        if not chunk:
            return
        self._tail = (self._tail + chunk)[-_TAIL:]
        if not self._stop.is_set():
            self._hear(chunk)
            self._stop.wait(_PAUSE_S)

    def text(self) -> str:
        return self._tail.decode(errors="replace")
