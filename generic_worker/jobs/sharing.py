"""Commands about jobs that have ended: those that wait while one runs share the next, where it can be about many.

No job waits for others to come: a job alone has a command of its own at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from generic_worker.jobs.grouping import grouped, rendering

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from generic_worker.job import Job

T = TypeVar("T")


class Shared(Generic[T]):
    """What a command says about each of the jobs that share it.

    Args:
        names: What the command names. Without `job_ids` it is about one job.
        batch: The most jobs that it may be about.
        ask: Runs it about some jobs; None says that it failed for several: then it is run for each alone.
    """

    def __init__(
        self, names: frozenset[str], batch: int, ask: Callable[[Sequence[Job]], Awaitable[Mapping[Job, T] | None]]
    ) -> None:
        self._names = names
        self._batch = batch
        self._ask = ask
        self._waiting: dict[str, dict[Job, asyncio.Future[T]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def about(self, job: Job) -> T:
        """What the command says about a job.

        Raises:
            GenericWorkerError: It could not be run.
        """
        if "job_ids" not in self._names:
            return (await self._answers([job]))[job]
        alike = rendering(job, self._names)
        if alike not in self._waiting:
            self._waiting[alike] = {}
            task = asyncio.create_task(self._serve(alike), name="generic-worker shared command")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        answer = self._waiting[alike].setdefault(job, asyncio.get_running_loop().create_future())
        return await asyncio.shield(answer)

    async def _serve(self, alike: str) -> None:
        """Run the command for those that wait for it, until none does."""
        try:
            while waiting := self._waiting[alike]:
                self._waiting[alike] = {}
                groups = grouped(waiting, self._names, self._batch)
                await asyncio.gather(*(self._tell(group, waiting) for group in groups))
        finally:
            del self._waiting[alike]

    async def _tell(self, group: Sequence[Job], waiting: Mapping[Job, asyncio.Future[T]]) -> None:
        try:
            answers = await self._answers(group)
        except Exception as error:  # noqa: BLE001 - raised where each of them waits
            for job in group:
                waiting[job].set_exception(error)
                waiting[job].exception()  # should nobody wait any more, nothing is to be said of it
        else:
            for job in group:
                waiting[job].set_result(answers[job])

    async def _answers(self, group: Sequence[Job]) -> Mapping[Job, T]:
        answers = await self._ask(group)
        if answers is None:
            alone = await asyncio.gather(*(self._ask([job]) for job in group))
            return {job: answer for one in alone for job, answer in (one or {}).items()}
        return answers
