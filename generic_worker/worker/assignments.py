"""One flow run's job, from just before its submission to the report of its end.

An assignment never ends with a guess: what cannot be known is waited for, and what cannot be reported is tried again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from generic_worker.errors import AttemptLostError
from generic_worker.job import CLEANED, JobReference, JobState
from generic_worker.jobs import clock
from generic_worker.jobs.cancellation import end_job
from generic_worker.jobs.metrics import FLOW_RUNS, REPORT_SECONDS, counted_submission
from generic_worker.jobs.outcome import end_message
from generic_worker.jobs.submission import Caller
from generic_worker.worker import flow_runs
from generic_worker.worker.events import emit_job_event
from generic_worker.worker.handing_back import is_gone, put_back
from generic_worker.worker.resubmission import resubmit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.events import RelatedResource
    from prefect.logging.loggers import PrefectLogAdapter

    from generic_worker.job import Job, JobStatus
    from generic_worker.jobs.driver import Driver
    from generic_worker.jobs.submission import Permit
    from generic_worker.jobs.watcher import Watcher
    from generic_worker.jobs.watches import Watch
    from generic_worker.worker.attempts import Attempt, Attempts


class Host(Protocol):
    """What an assignment needs of its worker."""

    name: str

    @property
    def client(self) -> PrefectClient:
        """The API's client."""

    def get_flow_run_logger(self, flow_run: FlowRun) -> PrefectLogAdapter:
        """The logger of a flow run."""

    def event_resources(self) -> list[RelatedResource]:
        """The work pool and the worker, as resources of an event."""

    def leave_line(self, flow_run: FlowRun) -> None:
        """Let the next flow run make its calls: this one's submit command begins."""


@dataclass(slots=True, eq=False)
class Assignment:
    """A flow run whose job this worker is responsible for.

    Attributes:
        flow_run: The flow run, as it was when the worker took it on.
        attempt: The attempt at it that this worker has.
        job: Its job.
        driver: The driver of its recipe.
        cancel: Set when the job is to be ended, or not to be submitted any more.
        submitted: Set when its submission is over, one way or the other.
        watch: The watch of its job, once that is submitted.
        ending: The task that ends the job.
        ended_because: Why the job is ended, once it is.
        goes_back_as: The state in which the flow run waits for a worker again if its job can be kept from starting.
    """

    flow_run: FlowRun
    attempt: Attempt
    job: Job
    driver: Driver
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    submitted: asyncio.Event = field(default_factory=asyncio.Event)
    watch: Watch | None = None
    ending: asyncio.Task[JobStatus] | None = None
    ended_because: str = "the flow run was cancelled"
    goes_back_as: State | None = None


class Assignments:
    """All the flow runs whose jobs this worker is responsible for.

    Args:
        host: The worker.
        attempts: What it does to the attempts that it has.
        watcher: What watches the jobs.
    """

    def __init__(self, host: Host, attempts: Attempts, watcher: Watcher) -> None:
        self._host = host
        self._attempts = attempts
        self._watcher = watcher
        self._active: dict[UUID, Assignment] = {}
        self._waiting: dict[UUID, Assignment] = {}

    def __contains__(self, flow_run_id: object) -> bool:
        return flow_run_id in self._active

    def __iter__(self) -> Iterator[Assignment]:
        return iter(list(self._active.values()))

    def __len__(self) -> int:
        return len(self._active)

    @property
    def ids(self) -> list[UUID]:
        """The ids of the flow runs."""
        return list(self._active)

    @property
    def waiting(self) -> dict[UUID, Assignment]:
        """Those whose flow runs were not seen to run yet, by the ids of these."""
        return dict(self._waiting)

    def get(self, flow_run_id: UUID) -> Assignment | None:
        """The assignment of a flow run, if this worker has it."""
        return self._active.get(flow_run_id)

    def take(self, assignment: Assignment) -> None:
        """Be responsible for a flow run from now on."""
        self._active[assignment.flow_run.id] = assignment
        if assignment.flow_run.state is None or not assignment.flow_run.state.is_running():
            self._waiting[assignment.flow_run.id] = assignment

    def begun(self, flow_run_id: UUID) -> None:
        """Note that a flow run runs: its job waits in no queue any more."""
        self._waiting.pop(flow_run_id, None)

    def drop(self, assignment: Assignment) -> None:
        """Be responsible no longer. The job is left as it is."""
        if self._active.get(assignment.flow_run.id) is assignment:  # and not the run's next attempt
            del self._active[assignment.flow_run.id]
            self._waiting.pop(assignment.flow_run.id, None)
        if assignment.watch is not None:
            self._watcher.forget(assignment.watch)
        if assignment.ending is not None:
            assignment.ending.cancel()

    async def submit(self, assignment: Assignment) -> None:
        """Submit the job. Its key is saved before, its id after: whoever comes later finds it by one or the other.

        Raises:
            GenericWorkerError: The job was not submitted; the text says why, and whether it may exist all the same.
        """
        job, attempt, client = assignment.job, assignment.attempt, self._host.client
        logger = self._host.get_flow_run_logger(assignment.flow_run)
        save = partial(flow_runs.save_pid, client, attempt.flow_run_id)
        try:
            if not await self._attempts.step(attempt, lambda: save(job.pid)):
                raise AttemptLostError("the flow run was deleted before its job was submitted.")
            caller = Caller(assignment.cancel, self._permit(assignment), attempt.is_fresh, logger.warning)
            with counted_submission(job.recipe):
                await assignment.driver.submit(job, caller)
            await self._save_id(assignment)
        finally:
            assignment.submitted.set()
        logger.info("Submitted as %s job %s.", job.recipe, job.id)

    async def _save_id(self, assignment: Assignment) -> None:
        """Save the id of a job that is there now. No error of the API ends the assignment: somebody has to watch it."""
        job, flow_run = assignment.job, assignment.flow_run
        try:
            save = partial(flow_runs.save_pid, self._host.client, flow_run.id, job.pid)
            await self._attempts.note(assignment.attempt, save)
        except Exception as error:  # noqa: BLE001 - its key is saved: whoever comes later finds it by that
            logger = self._host.get_flow_run_logger(flow_run)
            logger.warning("The id of %s job %s could not be saved: %s", job.recipe, job.id, error)

    def _permit(self, assignment: Assignment) -> Permit:
        """What says, when a submission's turn has come, whether the job is still wanted and not there yet."""
        cancelled = "stop", "the flow run was cancelled before its job was submitted."

        async def permit() -> tuple[str, str]:
            if assignment.cancel.is_set():
                return cancelled
            back = assignment.goes_back_as
            if back is not None and await put_back(self._attempts, assignment.attempt, back):
                raise AttemptLostError("it has lost its concurrency slot, and is back in the queue.")
            state = await self._attempts.look(assignment.attempt)
            if state.is_cancelling():
                return cancelled
            if not flow_runs.is_active_state(state):
                raise AttemptLostError(f"the flow run is {state.name} by now.")
            self._host.leave_line(assignment.flow_run)
            return ("begun", "the flow run has begun.") if state.is_running() else ("go", "")

        return permit

    async def follow(self, assignment: Assignment) -> JobStatus:
        """Watch a submitted job to its end and report that. Returns the job's last status."""
        assignment.watch = self._watcher.watch(assignment.job, assignment.driver, self._teller(assignment))
        assignment.submitted.set()
        if assignment.cancel.is_set():
            assignment.ending = self._ending(assignment, assignment.watch)
        status = await assignment.watch.ended
        if status.state is JobState.ABSENT:
            FLOW_RUNS.labels("lost").inc()
        return await self._conclude(assignment, status)

    async def end(self, assignment: Assignment) -> JobStatus | None:
        """End a job, or keep it from being submitted; as often as it is asked for, it is done once.

        Returns:
            The job's last status; None if it was not submitted.
        """
        assignment.cancel.set()
        await assignment.submitted.wait()
        if assignment.watch is None:
            return None
        assignment.ending = self._ending(assignment, assignment.watch)
        return await asyncio.shield(assignment.ending)

    def _ending(self, assignment: Assignment, watch: Watch) -> asyncio.Task[JobStatus]:
        """The task that ends a job: the one that is at it, or a new one."""
        if assignment.ending is not None and not assignment.ending.done():
            return assignment.ending
        return asyncio.create_task(end_job(self._watcher, watch))

    def _teller(self, assignment: Assignment) -> Callable[[JobStatus | str], None]:
        """What writes the news of a job into its flow run's log, and into Prefect's event stream."""
        flow_run, job = assignment.flow_run, assignment.job
        logger = self._host.get_flow_run_logger(flow_run)

        def tell(news: JobStatus | str) -> None:
            if isinstance(news, str):
                logger.warning("%s job %s: %s", job.recipe, job.id, news)
                return
            logger.info("%s job %s is %s.", job.recipe, job.id, news)
            emit_job_event(job, news, flow_run, self._host.event_resources())

        return tell

    async def _conclude(self, assignment: Assignment, status: JobStatus) -> JobStatus:
        """Report a job's end to Prefect, unless the flow run has done so itself; then clean up."""
        job, driver, flow_run = assignment.job, assignment.driver, assignment.flow_run
        logger, ended = self._host.get_flow_run_logger(flow_run), clock.now()
        if not await self._attempts.is_mine(assignment.attempt):
            logger.info("The end of %s job %s is seen to by another worker.", job.recipe, job.id)
            return status
        ended_well = status.state in {JobState.SUCCEEDED, JobState.FINISHED}  # as far as anybody says
        if not (await self._is_back(assignment, status) or (ended_well and await self._reported(assignment))):
            status = await driver.explain(job, status)
            because = assignment.ended_because if assignment.cancel.is_set() else ""
            message = end_message(job, status, because, names_memory=driver.recipe.names_memory)
            reported = None if assignment.cancel.is_set() else await self._resubmit(assignment, status, message)
            reported = reported or await self._attempts.report_end(assignment.attempt, message, job.key)
            if reported is not None:
                REPORT_SECONDS.labels(job.recipe).observe(clock.now() - ended)
            if reported is not None and not reported.is_cancelled():
                logs = await driver.logs(job)
                if logs:
                    logger.error("The last lines of the job's output:\n%s", logs)
                logger.error("%s", message)
        if driver.cleans_up and CLEANED not in job.fields:
            trouble = await driver.cleanup(job)
            if trouble:
                logger.warning("Cleaning up after %s job %s failed: %s", job.recipe, job.id, trouble)
            job.fields[CLEANED] = "1"
            if (now := await flow_runs.read(self._host.client, flow_run.id)) is not None and _is_job_of(job, now):
                await flow_runs.patiently(lambda: flow_runs.save_pid(self._host.client, flow_run.id, job.pid))
        return status

    async def _resubmit(self, assignment: Assignment, status: JobStatus, message: str) -> State | None:
        """Put the flow run back into the queue if its job's end was the infrastructure's doing, and that is wanted."""
        job, policy = assignment.job, assignment.driver.recipe.policy.resubmit
        if policy is None or not (status.state.final and policy.covers(status.word, status.reason)):
            return None
        return await resubmit(self._attempts, assignment.attempt, job.key, policy, message)

    async def _is_back(self, assignment: Assignment, status: JobStatus) -> bool:
        """Whether the flow run is in the queue again because we have ended its job before that has started."""
        back = assignment.goes_back_as if assignment.cancel.is_set() else None
        if back is None or not await is_gone(assignment.driver, assignment.job, status):
            return False
        return await put_back(self._attempts, assignment.attempt, back)

    async def _reported(self, assignment: Assignment) -> bool:
        """Whether a flow run whose job ended well has said how it ended. Its report may still be on its way."""
        for wait in (0, 1, 2, 3, 4):
            await asyncio.sleep(wait)
            flow_run = await flow_runs.read(self._host.client, assignment.flow_run.id)
            if flow_run is None or not flow_runs.is_active(flow_run):
                return True
        return False


def _is_job_of(job: Job, flow_run: FlowRun) -> bool:
    """Whether a job is what a flow run's pid names."""
    reference = JobReference.parse(flow_run.infrastructure_pid or "")
    return reference is not None and reference.key == job.key
