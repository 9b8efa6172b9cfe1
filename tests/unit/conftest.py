"""Time that tests move: an event loop whose clock jumps to what is due next, instead of waiting for it."""

from __future__ import annotations

import asyncio
import dataclasses
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from generic_worker.commands import processes
from generic_worker.commands.runner import Command, CommandResult, CommandRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class _Jumps(selectors.DefaultSelector):
    """Tells a loop that time has passed instead of waiting, unless it waits for a real program or thread."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.threads = 0
        self.others = set(processes._running)  # what an earlier test has left, which fails there

    def select(self, timeout: float | None = None) -> Any:
        self.now += 1e-9  # as every turn of a loop takes some time: who waits for less would turn for ever
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if timeout is None or self.threads or processes._running - self.others:
            return super().select(0.01)  # the programs' own time, of which the loop's clock knows nothing
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    """An event loop with that clock."""

    def __init__(self) -> None:
        self._jumps = _Jumps()
        super().__init__(self._jumps)

    def time(self) -> float:
        return self._jumps.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        def done(_: object) -> None:
            self._jumps.threads -= 1

        self._jumps.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(done)
        return future


def simulated(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario as `asyncio.run` does, in no time: nobody waits but for the programs that it runs.

    All that goes by the loop's clock (sleeps, deadlines, `jobs.clock`) takes exactly as long as it says. Programs take
    no time by that clock, however long they run.
    """
    loop = _Loop()
    try:
        return loop.run_until_complete(scenario)
    finally:
        loop.run_until_complete(_cancelled(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class TimelessRunner(CommandRunner):
    """Runs real programs, and says that each has taken a certain time, however fast the machine is."""

    def __init__(self, limit: int = 4, seconds: float = 0.0) -> None:
        super().__init__(limit)
        self.seconds = seconds

    async def run(self, command: Command) -> CommandResult:
        return dataclasses.replace(await super().run(command), seconds=self.seconds)


@pytest.fixture(name="simulated")
def simulated_fixture() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a scenario in simulated time: simulated(scenario())."""
    return simulated


@pytest.fixture
def timeless() -> TimelessRunner:
    """A runner whose commands take no time, or as many seconds as the test says: timeless.seconds = 2."""
    return TimelessRunner()
