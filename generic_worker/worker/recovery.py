"""After a restart: which runs of this pool are whose, and what becomes of them.

A run is taken over only when its worker is gone: it had this worker's name, or Prefect calls it offline. What a run's
job is, its `infrastructure_pid` says; a job that was never given an id is looked up by its key, and one that is proven
never to have been submitted is handed back.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from generic_worker.commands.rendering import names_beyond_scope
from generic_worker.errors import GenericWorkerError
from generic_worker.job import CLEANED, JobReference
from generic_worker.worker import flow_runs
from generic_worker.worker.api_calls import Moment
from generic_worker.worker.assignments import Assignment
from generic_worker.worker.histories import is_outdated
from generic_worker.worker.interrupted import InterruptedSubmissions, is_quiet
from generic_worker.worker.queries import runs_of_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun, State
    from prefect.types import DateTime, KeyValueLabels

    from generic_worker.jobs.driver import Driver
    from generic_worker.language.recipe import Recipe
    from generic_worker.worker.api_calls import ApiClock
    from generic_worker.worker.assignments import Host
    from generic_worker.worker.attempts import Attempt, Attempts
    from generic_worker.worker.claims import Claim
    from generic_worker.worker.configuration import GenericWorkerJobConfiguration

_ENDED = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)
_LOOK_BACK = timedelta(days=1)
"""How long ago a run may have ended for its job to be cleaned up after a restart."""
_FORGOTTEN_AGE = 900.0
"""Seconds after which a run that was picked up, for all that it says by nobody, is nobody's."""
_SAME_TIME = 5.0
"""Seconds by which the API's time may be wrong here: it is told to a second, and some are lost on the way."""


def is_abandoned(flow_run: FlowRun, me: str, online: set[str]) -> bool:
    """Whether the worker of a flow run is gone. A run that names none is somebody's while anybody else is there."""
    name = flow_runs.owner(flow_run)
    if name is None:
        return not online - {me}
    return name == me or name not in online


class Recovery:
    """Takes over the abandoned runs of a pool.

    Args:
        host: The worker.
        attempts: What it does to the attempts that it has.
        api_clock: The API's clock.
        resolve: Makes the job configuration of a flow run, as it is now.
        driver: The driver of a recipe.
        is_mine: Whether this worker has a flow run already, or is about to submit it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - it is wired once
        self,
        host: Host,
        attempts: Attempts,
        api_clock: ApiClock,
        resolve: Callable[[FlowRun], Any],
        driver: Callable[[Recipe], Driver],
        is_mine: Callable[[UUID], bool],
        warn: Callable[..., None],
    ) -> None:
        self._host = host
        self._attempts = attempts
        self._clock = api_clock
        self._resolve = resolve
        self._driver = driver
        self._is_mine = is_mine
        self._warn = warn
        self._warned: set[str] = set()
        self._interrupted = InterruptedSubmissions(host, attempts, api_clock)
        self._started = Moment()
        self._undecided: dict[UUID, Attempt] = {}

    @property
    def undecided(self) -> set[UUID]:
        """The flow runs that this worker has taken over, and of which it is not settled yet what becomes of them.

        Their labels may not say so: who had such a run before may have written that late.
        """
        return {attempt.flow_run_id for attempt in self._undecided.values()}

    async def take_over(self, runs: Sequence[FlowRun], online: set[str]) -> tuple[list[Assignment], list[Attempt]]:
        """Take over abandoned active runs.

        Args:
            runs: The runs.
            online: The workers that are there.

        Returns:
            Assignments whose jobs have ids, to be followed; and attempts that were handed back or reported as ended.
        """
        gate, read = asyncio.Semaphore(8), Moment()

        async def one(run: FlowRun) -> tuple[Attempt, Assignment | None] | None:
            async with gate:
                return None if self._is_mine(run.id) else await self._claim(run, online)

        claimed = [answer for answer in await asyncio.gather(*(one(run) for run in runs)) if answer is not None]
        found = [assignment for _, assignment in claimed if assignment is not None]
        taken = [assignment for assignment in found if assignment.job.id]
        located, settled = await self._interrupted.settle([one for one in found if not one.job.id], read)
        taken += located
        without_job = [attempt for attempt, assignment in claimed if assignment is None]
        for attempt in without_job:
            if is_quiet(attempt, read) and await self._interrupted.hand_back(attempt):
                settled.append(attempt)
        for done in [*settled, *(assignment.attempt for assignment in taken)]:
            self._undecided.pop(done.id, None)
        return taken, settled

    async def _claim(self, run: FlowRun, online: set[str]) -> tuple[Attempt, Assignment | None] | None:
        """Take an active run over. Returns the attempt, and what its pid says of its job, if it has one."""
        attempt, history = await self._attempts.present(run.id)
        if attempt is None or not _is_active(run, attempt.state):
            return None
        state, attempt = attempt.state, self._undecided.get(attempt.id, attempt)
        attempt.state = state
        now = run if _has_id(run) else await flow_runs.read(self._host.client, run.id)
        if now is None:
            return None
        assignment, reference = None, JobReference.parse(now.infrastructure_pid or "")
        if now.infrastructure_pid and (reference is None or not is_outdated(reference.key, history)):
            assignment = await self._assignment(now, attempt)
            if assignment is None:
                return None
        if not await self._attempts.take_over(attempt, partial(self._is_gone, run, online)):
            self._undecided.pop(attempt.id, None)
            return None
        self._undecided[attempt.id] = attempt
        if assignment is not None or attempt.number > 0:  # it is not done with at once
            await self._label(now)
        return attempt, assignment

    def _is_gone(self, run: FlowRun, online: set[str], claim: Claim | None) -> bool:
        """Whether the worker that wrote the last claim is gone: an earlier process of this name, or offline.

        Where there is none, some worker picked the run up a moment ago, or died in that moment.
        """
        if claim is None:
            alone = not online - {self._host.name}
            return alone or flow_runs.owner(run) is not None or self._clock.in_state(run) > _FORGOTTEN_AGE
        if claim.worker != self._host.name:
            return claim.worker not in online
        if claim.written is None or self._clock.age(claim.written) > self._started.age - _SAME_TIME:
            return True
        self._warn_once(
            f"Another worker named {claim.worker!r} is at work in this work pool. Give each a name of its own (--name):"
            " two that share one leave each other's flow runs alone, also when one of them is gone."
        )
        return False

    async def _label(self, flow_run: FlowRun) -> None:
        """Say that a run is this worker's now, so that others, and this one's next start, know whom to look for."""
        if flow_runs.owner(flow_run) != self._host.name:
            label: KeyValueLabels = {flow_runs.OWNER: self._host.name}
            await flow_runs.patiently(partial(self._host.client.update_flow_run_labels, flow_run.id, label))

    async def not_cleaned_up(self, pool: str, online: set[str]) -> list[Assignment]:
        """Runs that ended by themselves while nobody watched, and whose jobs were not cleaned up."""
        since = cast("DateTime", self._clock.now() - _LOOK_BACK)
        runs = await runs_of_pool(self._host.client, pool, _ENDED, since)
        runs = [run for run in runs if is_abandoned(run, self._host.name, online)]
        runs = [run for run in runs if run.infrastructure_pid and f"{CLEANED}=1" not in run.infrastructure_pid]
        wanted = []
        for run in runs:
            attempt, _ = await self._attempts.present(run.id)
            assignment = await self._assignment(run, attempt) if attempt else None
            if attempt is None or assignment is None or not (assignment.job.id and assignment.driver.cleans_up):
                continue
            if await self._attempts.take_over(attempt, partial(self._is_gone, run, online)):
                await self._label(run)
                wanted.append(assignment)
        return wanted

    async def _assignment(self, flow_run: FlowRun, attempt: Attempt) -> Assignment | None:
        """What a flow run's pid says of its job; None when it has none of ours, or one that lives elsewhere."""
        reference = JobReference.parse(flow_run.infrastructure_pid or "")
        if reference is None:
            return None
        pid = f"{flow_run.name}: its job {flow_run.infrastructure_pid}"
        try:
            configuration, unknown = await self._configuration(flow_run)
            driver, job = self._driver(configuration.loaded_recipe), configuration.job(flow_run, reference)
        except ObjectNotFound as error:
            self._warn_once(f"{pid} is left alone: something that it needs was deleted: {error}")
            return None
        except GenericWorkerError as error:
            self._warn_once(f"{pid} cannot be watched: {error}")
            return None
        if driver.scope(job.values) != job.scope:
            return None
        if unknown and job not in (await driver.find([job]))[0]:
            names = ", ".join(sorted(unknown))
            self._warn_once(f"{pid} is left alone: its deployment is gone, and nobody knows what that had set: {names}")
            return None
        return Assignment(flow_run, attempt, job, driver)

    async def _configuration(self, flow_run: FlowRun) -> tuple[GenericWorkerJobConfiguration, frozenset[str]]:
        """The configuration of a flow run; and the variables without whose values its job might not be found.

        A deployment may be gone. Where its jobs are the pid says, but it may have set something else on which it
        depends whether they are found.
        """
        try:
            return await self._resolve(flow_run), frozenset()
        except ObjectNotFound:
            found: GenericWorkerJobConfiguration
            found = await self._resolve(flow_run.model_copy(update={"deployment_id": None}))
            return found, names_beyond_scope(found.loaded_recipe) & found.open_variables

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._warn("%s", text)


def _is_active(run: FlowRun, state: State) -> bool:
    """Whether a run that was active when it was listed still is. Some states alone do not say so."""
    return flow_runs.is_active_state(state) or (run.state is not None and run.state.id == state.id)


def _has_id(flow_run: FlowRun) -> bool:
    reference = JobReference.parse(flow_run.infrastructure_pid or "")
    return reference is not None and bool(reference.id)
