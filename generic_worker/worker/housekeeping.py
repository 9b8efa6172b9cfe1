"""What a worker does beside running flow runs: cancel queued jobs at once, keep leases, take over abandoned runs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from prefect.client.schemas.objects import StateType, WorkerStatus

from generic_worker.job import JobState
from generic_worker.jobs import clock
from generic_worker.jobs.metrics import FLOW_RUNS
from generic_worker.worker import flow_runs
from generic_worker.worker.cancellation_news import CancellationNews
from generic_worker.worker.handing_back import awaiting_slot
from generic_worker.worker.queries import (
    ACTIVE,
    missing_runs,
    runs_by_id,
    runs_of_pool,
    runs_that_wait_in_their_jobs,
    workers_of_pool,
)
from generic_worker.worker.recovery import is_abandoned

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun, Worker
    from typing_extensions import Self

    from generic_worker.worker.api_calls import ApiClock
    from generic_worker.worker.assignments import Assignment, Assignments, Host
    from generic_worker.worker.leases import Leases
    from generic_worker.worker.recovery import Recovery

_CANCEL_EVERY = 1.0
_CANCEL_RARELY_EVERY = 15.0
"""Seconds between the looks for runs that are being cancelled, while all have begun, as those end themselves as a rule;
and while Prefect's events would tell."""
_ROUND_EVERY = 15.0
_FIRST_ROUND = 60.0
"""Seconds for which the worker's start waits for its first round."""
_AT_ONCE = 50
"""Runs that are taken over together, before the next are looked at: those are followed from then on."""
_FLOW_GRACE = 60.0
"""Seconds that a running flow has to end itself when it is cancelled, before its job is."""
_OWNERLESS_AGE = 60.0
"""Seconds for which a run may have neither a job nor a worker of its own before somebody looks whose it is."""
_HEARTBEAT = 30
"""Seconds between two heartbeats of a worker that does not say."""
_MISSED = 3
"""Heartbeats after which Prefect calls a worker offline."""
_UNCLEANED_EVERY = 600.0
"""Seconds between looks for jobs that ended while nobody watched."""


class Housekeeping:
    """Two loops: a quick one for cancellations, which Prefect's events hurry, and a slow one for everything else.

    Args:
        host: The worker.
        pool: Name of its pool.
        name: Its own name.
        assignments: The runs it has.
        leases: Their concurrency slots.
        recovery: How it takes over those of others; None if it does not.
        api_clock: The API's clock.
        adopt: Starts to follow a run that was taken over.
        is_mine: Whether this worker has a run, or is about to submit it.
        check_pool: Looks at the pool's recipe when it has changed.
        logger: The worker's log.
    """

    def __init__(  # noqa: PLR0913 - it is wired once
        self,
        host: Host,
        *,
        pool: str,
        name: str,
        assignments: Assignments,
        leases: Leases,
        recovery: Recovery | None,
        api_clock: ApiClock,
        adopt: Callable[[Assignment], None],
        is_mine: Callable[[UUID], bool],
        check_pool: Callable[[], Awaitable[None]],
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._host = host
        self._pool = pool
        self._name = name
        self._assignments = assignments
        self._leases = leases
        self._recovery = recovery
        self._clock = api_clock
        self._adopt = adopt
        self._is_mine = is_mine
        self._check_pool = check_pool
        self._logger = logger
        self._news = CancellationNews(is_mine, logger)
        self._acted_on_news, self._looked_for_cancelling = 0, -_CANCEL_RARELY_EVERY
        self._looked_for_uncleaned = -_UNCLEANED_EVERY
        self._first_round_done = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ends: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> Self:
        """Start both loops, and let the first round take over what an earlier worker has left before new work comes.

        With thousands of runs, or an API that is down, that takes longer than a start may: then it goes on meanwhile.
        """
        self._tasks = [
            asyncio.create_task(self._loop(self._round, _ROUND_EVERY), name="generic-worker housekeeping"),
            asyncio.create_task(self._loop(self._cancel, _CANCEL_EVERY), name="generic-worker cancellations"),
            asyncio.create_task(self._news.listen(), name="generic-worker cancellation news"),
        ]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._first_round_done.wait(), _FIRST_ROUND)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop both loops."""
        tasks = [*self._tasks, *self._ends]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _loop(self, work: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            await self._safely(work)
            await asyncio.sleep(every)

    async def _safely(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # the next round is the remedy, whatever it was
            if flow_runs.is_passing(error):
                self._logger.debug("The Prefect API does not answer: %s", error)
            else:
                self._logger.exception("Looking after the pool's flow runs failed; it is tried again.")

    async def _cancel(self) -> None:
        """End the jobs of runs that are being cancelled: at once while nothing has begun, else after a grace time."""
        now, heard = clock.now(), self._news.heard
        is_urgent = heard > self._acted_on_news or (self._assignments.waiting and not self._news.is_up)
        every = _CANCEL_EVERY if is_urgent else _CANCEL_RARELY_EVERY
        if not len(self._assignments) or now - self._looked_for_cancelling < every:
            return
        self._looked_for_cancelling = now
        cancelling = await runs_of_pool(self._host.client, self._pool, [StateType.CANCELLING])
        if not any(self._is_mine(run.id) and run.id not in self._assignments for run in cancelling):
            self._acted_on_news = heard  # else one has no job yet, and there is something to end in a moment
        for flow_run in cancelling:
            assignment = self._assignments.get(flow_run.id)
            if assignment is not None and not assignment.cancel.is_set() and self._is_due(flow_run, assignment):
                self._end(assignment)

    def _end(self, assignment: Assignment) -> None:
        self._host.get_flow_run_logger(assignment.flow_run).info(
            "Ending %s job %s.", assignment.job.recipe, assignment.job.id
        )
        task: asyncio.Task[object] = asyncio.create_task(self._assignments.end(assignment))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _round(self) -> None:
        try:
            await self._look_after_pool()
        finally:
            self._first_round_done.set()

    async def _look_after_pool(self) -> None:
        """Look after all runs. First after their slots: at a start nobody may have done so for a while."""
        abandoned, online = await self._abandoned(self._recovery) if self._recovery else ([], set())
        await self._look_after_waiting(abandoned)
        await self._check_pool()
        if self._recovery is not None:
            await self._take_over(self._recovery, abandoned, online)
            if clock.now() - self._looked_for_uncleaned > _UNCLEANED_EVERY:
                self._looked_for_uncleaned = clock.now()
                self._adopt_new(await self._recovery.not_cleaned_up(self._pool, online))

    async def _abandoned(self, recovery: Recovery) -> tuple[list[FlowRun], set[str]]:
        """The active runs of others whose workers are gone; and the workers that are there."""
        ours = self._assignments.ids
        runs = await runs_of_pool(self._host.client, self._pool, ACTIVE, but=ours)
        runs += await runs_that_wait_in_their_jobs(self._host.client, self._pool, but=ours)
        others_runs = [run for run in runs if not self._is_mine(run.id)]
        online, undecided = await self._who_is_there(), recovery.undecided
        return [run for run in others_runs if run.id in undecided or self._is_abandoned(run, online)], online

    async def _who_is_there(self) -> set[str]:
        """The names of the workers that are alive, as far as Prefect says.

        After an outage of the API nobody has been heard of for a while, so that all look dead. Nothing would be doubled
        by taking their runs over; but they are alive, and see to them.
        """
        workers = await workers_of_pool(self._host.client, self._pool)
        return {worker.name for worker in workers if worker.status is WorkerStatus.ONLINE or self._may_be_back(worker)}

    def _may_be_back(self, worker: Worker) -> bool:
        """Whether a worker that looks dead may only not have been heard of again yet."""
        return self._clock.in_touch() < _MISSED * (worker.heartbeat_interval_seconds or _HEARTBEAT) + _ROUND_EVERY

    async def _take_over(self, recovery: Recovery, abandoned: Sequence[FlowRun], online: set[str]) -> None:
        taken = others = 0
        for at in range(0, len(abandoned), _AT_ONCE):
            assignments, settled = await recovery.take_over(abandoned[at : at + _AT_ONCE], online)
            self._adopt_new(assignments)
            taken, others = taken + len(assignments), others + len(settled)
        if taken or others:
            self._logger.info("Took over %d flow runs; %d others were handed back or settled.", taken, others)

    def _adopt_new(self, assignments: Sequence[Assignment]) -> None:
        for assignment in assignments:
            if assignment.flow_run.id not in self._assignments:
                FLOW_RUNS.labels("adopted").inc()
                self._adopt(assignment)

    def _is_abandoned(self, flow_run: FlowRun, online: set[str]) -> bool:
        if flow_runs.owner(flow_run) is None and not flow_run.infrastructure_pid:
            return self._clock.in_state(flow_run) > _OWNERLESS_AGE
        return is_abandoned(flow_run, self._name, online)

    def _is_due(self, flow_run: FlowRun, assignment: Assignment) -> bool:
        watch = assignment.watch
        begun = flow_run.start_time is not None and watch is not None and watch.status.state is not JobState.PENDING
        return not begun or self._clock.in_state(flow_run) > _FLOW_GRACE

    async def _look_after_waiting(self, abandoned: Sequence[FlowRun]) -> None:
        """Look after those runs of ours that have not begun. Only of those that have moved on is anything read.

        Args:
            abandoned: Runs of workers that are gone. Their slots are kept until it is known what becomes of them.
        """
        waiting = self._assignments.waiting
        moved = await runs_by_id(self._host.client, list(waiting), but=[StateType.PENDING])
        undecided = self._recovery.undecided if self._recovery is not None else set()
        await self._leases.renew((waiting.keys() - {run.id for run in moved}) | undecided, abandoned)
        for run in moved:
            if run.state is not None and run.state.is_running():
                self._assignments.begun(run.id)
        self._end_queued([waiting[run.id] for run in moved if run.state and run.state.is_final()])
        self._end_deleted(await missing_runs(self._host.client, self._assignments.ids))
        self._end_overdue(list(self._assignments.waiting.values()))
        self._send_back(waiting, await self._leases.without_slot())

    def _end_queued(self, ended: Sequence[Assignment]) -> None:
        """End queued jobs whose runs were ended in Prefect: nobody waits for them any more."""
        for assignment in ended:
            if assignment.watch is not None and assignment.watch.status.state is JobState.PENDING:
                self._end(assignment)

    def _end_deleted(self, deleted: Iterable[UUID]) -> None:
        """End jobs whose runs were deleted, whatever they are at: nobody can see them any more, or stop them."""
        for assignment in filter(None, map(self._assignments.get, deleted)):
            if assignment.watch is not None and not assignment.cancel.is_set():
                assignment.ended_because = "the flow run was deleted"
                self._end(assignment)

    def _send_back(self, waiting: Mapping[UUID, Assignment], without_slot: Collection[UUID]) -> None:
        """Keep jobs from starting whose runs Prefect would only make Cancelled then: these go back into the queue."""
        for run, assignment in waiting.items():
            watch = assignment.watch
            if assignment.cancel.is_set() or not (watch is None or watch.status.state is JobState.PENDING):
                continue
            assignment.goes_back_as = awaiting_slot(self._clock) if run in without_slot else None
            if assignment.goes_back_as is not None and watch is not None:  # else it will not even be submitted
                assignment.ended_because = "its flow run has lost its concurrency slot, and none is free"
                self._end(assignment)

    def _end_overdue(self, waiting: Sequence[Assignment]) -> None:
        """End queued jobs that have waited for longer than their recipe lets them."""
        for assignment in waiting:
            limit, watch = assignment.driver.recipe.policy.pending_for, assignment.watch
            if limit is None or watch is None or assignment.cancel.is_set():
                continue
            if watch.status.state is JobState.PENDING and self._waited(assignment) > limit:
                assignment.ended_because = (
                    f"it was not started within {limit:g} s, as policy.pending_for says (it was {watch.status})"
                )
                self._end(assignment)

    def _waited(self, assignment: Assignment) -> float:
        """Seconds since a job was submitted, or a little more."""
        flow_run = assignment.flow_run
        return self._clock.in_state(flow_run) if flow_run.state is not None else clock.now() - assignment.job.born
