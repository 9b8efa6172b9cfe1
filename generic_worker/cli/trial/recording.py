"""What is written down during a trial: what the commands say, and what the watcher finds odd."""

from __future__ import annotations

import contextlib
import logging
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

from generic_worker.commands.runner import CommandRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generic_worker.commands.runner import Command, CommandResult

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
    """Runs commands, and keeps what they say for whoever is recording."""

    async def run(self, command: Command) -> CommandResult:
        """Run a command, as a worker would."""
        result = await super().run(command)
        if (recorded := _recorded.get()) is not None:
            recorded.append(result)
        return result


class Remarks(logging.Handler):
    """What the watcher finds odd, and since when."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.since: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take one remark."""
        self.texts.append(record.getMessage())
        self.since = self.since or time.monotonic()
