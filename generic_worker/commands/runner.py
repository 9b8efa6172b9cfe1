"""Runs commands, a bounded number at once.

It refuses to interpret: it judges no output and no exit code, tries nothing again and logs nothing.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias
from weakref import WeakKeyDictionary

from generic_worker.commands.far_side import as_run, own_output
from generic_worker.commands.listening import Listening
from generic_worker.commands.processes import CommandResult, Execution, Outcome
from generic_worker.commands.programs import Command

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Command", "CommandResult", "CommandRunner"]

_STUCK_S = 15.0  # beyond the time limit; a program on a dead network file system cannot even be started

_Gate: TypeAlias = tuple[asyncio.Semaphore, asyncio.Lock]


class CommandRunner:
    """Runs commands, a bounded number at once per event loop.

    A command that leaves a process behind on purpose (`job &`) has ended when it has ended itself: what it
    left runs on, in its process group or not. It must have redirected its output, because nobody reads it
    any more. Only a time limit, a cancellation and the end of the worker stop the whole process group.
    """

    def __init__(self, limit: int = 4, max_output: int = 8 * 2**20) -> None:
        self._limit = limit
        self._max_output = max_output
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, _Gate] = WeakKeyDictionary()

    async def run(self, command: Command) -> CommandResult:
        """Run a command to its end.

        A cancelled caller does not wait: the command's own thread stops the process group, within about
        four seconds, even if the worker is about to exit.

        Raises:
            CommandNotFound: Its program is not there, or cannot be executed.
            CommandOverdue: What it was to be run for does not hold any more; nothing has run.
            CommandError: It cannot be started for another reason; nothing has run.
        """
        async with self._gate()[0]:
            return await self._executed(command, lambda report: Execution(as_run(command), self._max_output, report))

    async def listen(
        self, command: Command, hear: Callable[[bytes], None], stream: Literal["stdout", "stderr"] = "stdout"
    ) -> CommandResult:
        """Run a command that stays until it ends, at its time limit at the latest. It counts to no limit of commands.

        Behind a transport it has no marks: what a host prints as a greeting is heard too.

        Args:
            command: The command.
            hear: Called with each piece of what it prints, a few times a second at most, in another thread.
            stream: The stream that is heard.

        Returns:
            How it ended, with the last that it printed.

        Raises:
            CommandError: As `run`.
        """
        return await self._executed(command, lambda report: Listening(command, hear, stream, report))

    def _gate(self) -> _Gate:
        new = asyncio.Semaphore(self._limit), asyncio.Lock()
        return self._gates.setdefault(asyncio.get_running_loop(), new)

    async def _executed(
        self, command: Command, make: Callable[[Callable[[Outcome], None]], Execution]
    ) -> CommandResult:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcome] = loop.create_future()

        def report(outcome: Outcome) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(answer.set_result, outcome)

        execution = make(report)
        try:
            async with self._gate()[1]:  # a new thread may have to wait for a fork: the loop has a turn in between
                execution.start()
                await asyncio.sleep(0)
            await asyncio.wait({answer}, timeout=command.timeout + _STUCK_S)
        finally:
            execution.stop.set()
        if not answer.done():  # the kernel holds its thread; whether the command has run is unknown
            seconds = command.timeout + _STUCK_S
            return CommandResult(command, -signal.SIGKILL, "", "", seconds, timed_out=True)
        outcome = answer.result()
        if isinstance(outcome, BaseException):
            raise outcome
        return own_output(command, outcome)
