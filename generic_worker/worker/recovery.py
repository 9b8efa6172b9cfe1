"""After a restart: which runs of this pool are whose, and what becomes of them.

A run is taken over only when its worker is gone: it had this worker's name, or Prefect calls it offline. What a run's
job is, its `infrastructure_pid` says; a job that was never given an id is looked up by its key, and one that is proven
never to have been submitted is handed back.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from prefect.client.schemas.objects import StateType
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.logging.loggers import flow_run_logger
from prefect.states import Scheduled
from prefect.utilities.engine import propose_state

from generic_worker.errors import GenericWorkerError
from generic_worker.job import CLEANED, JobReference
from generic_worker.jobs import clock
from generic_worker.jobs.metrics import FLOW_RUNS
from generic_worker.jobs.submission import Reminder
from generic_worker.worker import flow_runs
from generic_worker.worker.assignments import Assignment
from generic_worker.worker.queries import runs_of_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.types import DateTime, KeyValueLabels

    from generic_worker.jobs.driver import Driver
    from generic_worker.language.recipe import Recipe
    from generic_worker.worker.configuration import GenericWorkerJobConfiguration

_ENDED = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)
_LOOK_BACK = timedelta(days=1)
"""How long ago a run may have ended for its job to be cleaned up after a restart."""


def is_abandoned(flow_run: FlowRun, me: str, online: set[str]) -> bool:
    """Whether the worker of a flow run is gone. A run that names none is somebody's while anybody else is there."""
    name = flow_runs.owner(flow_run)
    if name is None:
        return not online - {me}
    return name == me or name not in online


class Recovery:
    """Takes over the abandoned runs of a pool.

    Args:
        name: This worker's name.
        resolve: Makes the job configuration of a flow run, as it is now.
        driver: The driver of a recipe.
        is_mine: Whether this worker has a flow run already, or is about to submit it.
        warn: Writes a warning into the worker's log.
    """

    def __init__(
        self,
        name: str,
        resolve: Callable[[FlowRun], Any],
        driver: Callable[[Recipe], Driver],
        is_mine: Callable[[UUID], bool],
        warn: Callable[..., None],
    ) -> None:
        self._name = name
        self._resolve = resolve
        self._driver = driver
        self._is_mine = is_mine
        self._warn = warn
        self._warned: set[str] = set()
        self._without_id: dict[str, float] = {}
        self._reminders: dict[str, Reminder] = {}

    async def take_over(self, client: PrefectClient, runs: Sequence[FlowRun]) -> tuple[list[Assignment], list[FlowRun]]:
        """Take over abandoned active runs.

        Returns:
            Assignments whose jobs have ids, to be followed; and the runs that were handed back or reported as ended.
        """
        gate = asyncio.Semaphore(8)

        async def one(run: FlowRun) -> tuple[FlowRun | None, Assignment | None]:
            async with gate:
                fresh = await flow_runs.read(client, run.id)  # it may have ended since the list was made
                if fresh is None or not flow_runs.is_active(fresh) or self._is_mine(run.id):
                    return None, None
                submitted = await self._was_submitted(client, fresh)
                return (None, await self._assignment(fresh)) if submitted else (fresh, None)

        answers = await asyncio.gather(*(one(run) for run in runs))
        found = [assignment for _, assignment in answers if assignment is not None]
        taken = [assignment for assignment in found if assignment.job.id]
        located, settled = await self._locate(client, [a for a in found if not a.job.id])
        taken += located
        never_submitted = [run for run, _ in answers if run is not None]
        settled += [run for run in never_submitted if await self._hand_back(client, run)]
        for assignment in taken:
            await self._claim(client, assignment)
        return taken, settled

    async def _claim(self, client: PrefectClient, assignment: Assignment) -> None:
        """Say that a run is this worker's now. Of two that say so, the last one has it."""
        if flow_runs.owner(assignment.flow_run) == self._name:
            return
        label: KeyValueLabels = {flow_runs.OWNER: self._name}
        await flow_runs.patiently(partial(client.update_flow_run_labels, assignment.flow_run.id, label))

    async def _was_submitted(self, client: PrefectClient, flow_run: FlowRun) -> bool:
        """Whether a run's pid belongs to its present attempt. One that is being retried still has that of the last."""
        if not flow_run.infrastructure_pid:
            return False
        reference = JobReference.parse(flow_run.infrastructure_pid)
        return reference is None or await flow_runs.counts_on(client, flow_run.id, reference.key)

    async def not_cleaned_up(self, client: PrefectClient, pool: str, online: set[str]) -> list[Assignment]:
        """Runs that ended by themselves while nobody watched, and whose jobs were not cleaned up."""
        since = cast("DateTime", datetime.now(timezone.utc) - _LOOK_BACK)
        runs = [run for run in await runs_of_pool(client, pool, _ENDED, since) if is_abandoned(run, self._name, online)]
        runs = [run for run in runs if run.infrastructure_pid and f"{CLEANED}=1" not in run.infrastructure_pid]
        found = [await self._assignment(run) for run in runs]
        wanted = [one for one in found if one and one.job.id and one.driver.cleans_up]
        for assignment in wanted:
            await self._claim(client, assignment)
        return wanted

    async def _assignment(self, flow_run: FlowRun) -> Assignment | None:
        """What a flow run's pid says of its job; None when it has none of ours, or one that lives elsewhere."""
        reference = JobReference.parse(flow_run.infrastructure_pid or "")
        if reference is None:
            return None
        try:
            configuration: GenericWorkerJobConfiguration = await self._resolve(flow_run)
            recipe = configuration.loaded_recipe
            driver, job = self._driver(recipe), configuration.job(flow_run, reference)
        except ObjectNotFound:
            self._warn_once(
                f"{flow_run.name}: its deployment is gone, and its job {flow_run.infrastructure_pid} is left alone."
            )
            return None
        except GenericWorkerError as error:
            self._warn_once(f"{flow_run.name}: its job {flow_run.infrastructure_pid} cannot be watched: {error}")
            return None
        return Assignment(flow_run, job, driver) if driver.scope(job.values) == job.scope else None

    async def _locate(
        self, client: PrefectClient, without_id: Sequence[Assignment]
    ) -> tuple[list[Assignment], list[FlowRun]]:
        """Look up jobs whose worker died while it submitted them; settle what becomes of those that do not exist."""
        located: list[Assignment] = []
        settled: list[FlowRun] = []
        for driver in {assignment.driver for assignment in without_id}:
            group = [assignment for assignment in without_id if assignment.driver is driver]
            if driver.recipe.find is None:
                for assignment in group:
                    message = f"The worker stopped while it submitted this run, and {driver.recipe.name} has no find."
                    hint = f"The job may exist: look for the key {assignment.job.key}."
                    await flow_runs.report_end(client, assignment.flow_run.id, f"{message} {hint}", assignment.job.key)
                settled += [assignment.flow_run for assignment in group]
                continue
            jobs = [assignment.job for assignment in group]
            found, trouble = await driver.find(jobs)
            for assignment in group:
                if assignment.job in found:
                    await flow_runs.save_pid(client, assignment.flow_run.id, assignment.job.pid)
                    located.append(assignment)
                elif assignment.job in trouble:
                    if await self._is_given_up(client, assignment, trouble[assignment.job]):
                        settled.append(assignment.flow_run)
                elif self._is_undecided(assignment):
                    continue
                elif await self._hand_back(client, assignment.flow_run):
                    await assignment.driver.cleanup(assignment.job)
                    settled.append(assignment.flow_run)
        return located, settled

    async def _is_given_up(self, client: PrefectClient, assignment: Assignment, trouble: str) -> bool:
        """Say that a find does not answer; give it up for a run that was cancelled, or when its bound is reached."""
        flow_run, key, policy = assignment.flow_run, assignment.job.key, assignment.driver.recipe.policy
        undecided = self._is_undecided(assignment)
        waited = clock.now() - self._without_id[key]
        unknown = f"Nobody can say whether the last submission made a job: {trouble}"
        if flow_run.state is not None and flow_run.state.is_cancelling() and not undecided:
            why = "The flow run was cancelled."
        elif policy.find_for is not None and waited > policy.find_for:
            why = f"No answer for {policy.find_for:g} s, as policy.find_for says."
        else:
            if self._reminders.setdefault(key, Reminder()).is_due():
                flow_run_logger(flow_run=flow_run).warning("%s", unknown)
            return False
        message = f"{why} The job may exist: look for {key}.\n{unknown}"
        await flow_runs.report_end(client, flow_run.id, message, key)
        return True

    def _is_undecided(self, assignment: Assignment) -> bool:
        """Whether a job may be about to appear: the command that submits it outlives a worker that is killed."""
        recipe, now = assignment.driver.recipe, clock.now()
        waited = now - self._without_id.setdefault(assignment.job.key, now)
        return waited < recipe.submit.timeout + recipe.policy.visible_after

    async def _hand_back(self, client: PrefectClient, flow_run: FlowRun) -> bool:
        """Give a run that was never submitted to whichever worker asks next. Says whether anything was done."""
        state = flow_run.state
        if state is None or not (state.is_pending() or state.is_cancelling()):
            return False  # somebody executes it by other means
        if state.is_cancelling():
            message = "The flow run was cancelled before its job was submitted."
            await flow_runs.report_end(client, flow_run.id, message, flow_runs.job_key(flow_run))
            return True
        try:
            await flow_runs.patiently(
                lambda: propose_state(
                    client,
                    Scheduled(message="Its worker stopped before it was submitted."),
                    flow_run_id=flow_run.id,
                )
            )
        except (Abort, Pause, ObjectNotFound):
            return False
        FLOW_RUNS.labels("handed_back").inc()
        return True

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._warn("%s", text)
