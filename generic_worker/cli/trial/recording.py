"""What is written down during a trial: what the commands say and how long they take, and what the watcher finds odd."""

from __future__ import annotations

import contextlib
import logging
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

from generic_worker.commands.runner import CommandRunner
from generic_worker.errors import GenericWorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from generic_worker.commands.runner import Command, CommandResult

UNLISTED = "no state in it is one that the recipe lists"
"""What is said of an answer of which no word is known."""

_recorded: ContextVar[list[CommandResult] | None] = ContextVar("recorded", default=None)


@contextlib.contextmanager
def recording() -> Iterator[list[CommandResult]]:
    """What the commands say that are run in this context."""
    recorded: list[CommandResult] = []
    token = _recorded.set(recorded)
    try:
        yield recorded
    finally:
        _recorded.reset(token)


class Recorder(CommandRunner):
    """Runs commands, and keeps what they say for whoever is recording.

    Attributes:
        slowest: Seconds that a command took at most, with its waiting for others to make room.
        overhear: Called with each piece of what a command says that stays, in that command's thread.
        left: How the commands have ended that should stay, or why they could not be started.
    """

    slowest = 0.0

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.overhear: Callable[[bytes], None] = lambda _: None
        self.left: list[CommandResult | GenericWorkerError] = []

    async def run(self, command: Command) -> CommandResult:
        """Run a command, as a worker would."""
        begin = time.monotonic()
        result = await super().run(command)
        self.slowest = max(self.slowest, time.monotonic() - begin)
        if (recorded := _recorded.get()) is not None:
            recorded.append(result)
        return result

    async def listen(
        self, command: Command, hear: Callable[[bytes], None], stream: Literal["stdout", "stderr"] = "stdout"
    ) -> CommandResult:
        """Run a command that stays, as a worker would."""

        def both(piece: bytes) -> None:
            self.overhear(piece)
            hear(piece)

        try:
            result = await super().listen(command, both, stream)
        except GenericWorkerError as error:
            self.left.append(error)
            raise
        self.left.append(result)
        return result


class Remarks(logging.Handler):
    """What the watcher finds odd."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take one remark."""
        self.texts.append(record.getMessage())

    def about_words(self) -> str:
        """The first remark about a word that the recipe does not list; empty without one."""
        return next((text for text in self.texts if ": the state " in text or UNLISTED in text), "")
