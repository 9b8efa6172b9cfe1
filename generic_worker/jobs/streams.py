"""The watch commands of recipes: each stays for all jobs that can share it, and says whose status to ask for soon.

A line only hurries. Nothing is concluded from one, nor from a stream that ends: then it is started again, and meanwhile
jobs are asked about as often as without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from functools import partial
from typing import TYPE_CHECKING

from generic_worker.answers.news import Lines
from generic_worker.commands.masking import hiding, masked_errors
from generic_worker.commands.rendering import prepared, without_environment
from generic_worker.errors import GenericWorkerError
from generic_worker.jobs import clock
from generic_worker.jobs.grouping import rendering
from generic_worker.jobs.watches import Stream

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence

    from generic_worker.answers.news import Changed
    from generic_worker.jobs.driver import Driver
    from generic_worker.jobs.watches import Watch
    from generic_worker.language.operations import Watch as WatchCommand

_LINGER = 30.0
"""Seconds that a stream stays after its last job: the next may come soon."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
"""Seconds before a command is started again; they double each time that it ends before it was up."""
_MOST = 8
"""Streams of one recipe. Jobs for which there would be one more are asked about as if there were none."""

_Place = tuple["Driver", int]


class Streams:
    """The streams of a watcher.

    Args:
        logger: Is told when a command does not stay.
        tell: Called with the watches whose jobs may have changed.
    """

    def __init__(
        self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger], tell: Callable[[Sequence[Watch]], None]
    ) -> None:
        self._logger = logger
        self._tell = tell
        self._keepers: dict[_Place, _Keeper] = {}

    def join(self, watch: Watch) -> Stream | None:
        """The stream that tells of a job, started if it is the first; None where nothing tells of it."""
        driver, operation = watch.driver, watch.driver.recipe.watch
        if operation is None:
            return None
        place = driver, hash(rendering(watch.job, driver.watch_names))
        keeper = self._keepers.get(place)
        if keeper is None:
            if sum(other is driver for other, _ in self._keepers) >= _MOST:
                return None
            end = partial(self._keepers.pop, place)
            keeper = self._keepers[place] = _Keeper(watch, operation, self._tell, end, self._logger)
        keeper.stream.watches[watch] = None
        return keeper.stream

    async def close(self) -> None:
        """Stop all the commands."""
        tasks = [keeper.task for keeper in self._keepers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Keeper:
    """Keeps a watch command running for as long as there are jobs that it may tell of.

    Args:
        watch: The first job's.
        operation: The command.
        tell: Called with the watches whose jobs may have changed.
        end: Called when it tells of no job any more.
        logger: Is told when the command does not stay.

    Attributes:
        stream: What its jobs' watches see of it.
        task: What keeps it running; it is done some time after the last job has left.
    """

    def __init__(
        self,
        watch: Watch,
        operation: WatchCommand,
        tell: Callable[[Sequence[Watch]], None],
        end: Callable[[], object],
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self.stream = Stream()
        self._driver = watch.driver
        self._operation = operation
        self._values = without_environment(watch.job.values, watch.driver.watch_names)
        self._tell = tell
        self._end = end
        self._logger = logger
        self.task = asyncio.create_task(self._stay(), name="generic-worker stream")

    async def _stay(self) -> None:
        """Keep the command running until there has been no job for a while."""
        running = asyncio.create_task(self._keep_running())
        try:
            while True:
                await self.stream.empty.wait()
                await asyncio.sleep(_LINGER)
                if not self.stream.watches:
                    return
                self.stream.empty.clear()
        finally:
            self._end()  # at once: a job that joins now gets a stream of its own
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    async def _keep_running(self) -> None:
        failures = 0  # in a row: it ended before it was up
        while True:
            began = clock.now()
            how = await self._run(began)
            failures = 0 if self.stream.up(clock.now()) else failures + 1
            self.stream.since = math.inf
            if failures == 1:
                text = "%s: watch: %s\nStates are asked for as often as without it, until it stays."
                self._logger.info(text, self._driver.recipe.name, how)
            pause = min(_FIRST_PAUSE * 2 ** min(max(failures - 1, 0), 10), _LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.9, 1.0))  # noqa: S311 - jitter

    async def _run(self, now: float) -> str:
        """Run the command once; returns how it ended."""
        loop, lines = asyncio.get_running_loop(), Lines(self._operation.output)

        def hear(piece: bytes) -> None:  # in the command's own thread
            whose = lines.take(piece)
            if whose is None or whose:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._hear, whose)

        stream = self._operation.output.from_ if self._operation.output else "stdout"
        try:
            with masked_errors(self._values):
                command = prepared(self._driver.recipe, self._operation, self._values)
                self.stream.since = now
                result = await self._driver.runner.listen(command, hear, stream)
        except GenericWorkerError as error:
            return str(error)
        except Exception:
            self._logger.exception("%s: a watch command failed.", self._driver.recipe.name)
            return "it failed."
        return result.describe(hiding(self._values))

    def _hear(self, whose: Changed) -> None:
        """Take what some lines say."""
        told = [w for w in self.stream.watches if whose is None or w.job.id in whose or w.job.key in whose]
        if told:
            self._tell(told)
