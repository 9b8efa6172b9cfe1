"""The Prefect worker: connects a flow run to a driver and the watcher, and job outcomes to flow run states."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING, Any, ClassVar

from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.workers.base import BaseWorkerResult

from generic_worker.commands.runner import CommandRunner
from generic_worker.errors import AttemptLostError, GenericWorkerError, VariableError
from generic_worker.job import JobReference, JobState
from generic_worker.jobs import clock
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.metrics import MeasuredRunner, counted_jobs
from generic_worker.jobs.outcome import exit_status
from generic_worker.jobs.preflight import preflight
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load
from generic_worker.worker.assignments import Assignment, Assignments
from generic_worker.worker.configuration import (
    NO_RECIPE,
    GenericWorkerJobConfiguration,
    GenericWorkerVariables,
    pool_variables,
)
from generic_worker.worker.footprint import SharedTemplate
from generic_worker.worker.housekeeping import Housekeeping
from generic_worker.worker.readiness import tell_readiness
from generic_worker.worker.recovery import Recovery
from generic_worker.worker.registered import WorkerType
from generic_worker.worker.safeguards import Safeguards
from generic_worker.worker.unwatched_jobs import end_unwatched_job

if TYPE_CHECKING:
    from uuid import UUID

    import anyio.abc
    from prefect.client.schemas.objects import FlowRun, WorkPool
    from prefect.events import RelatedResource
    from typing_extensions import Self

    from generic_worker.language.recipe import Recipe

_SAY_AGAIN = 24 * 3600.0
"""Seconds after which a worker looks and says again whether it can run its pool's recipe: Prefect forgets events."""
_FOLLOW_AGAIN = 15.0
"""Seconds after which a job that could not be followed is followed again."""


class GenericWorkerResult(BaseWorkerResult):
    """How a job ended. `status_code` is its exit code, and 0 only if it ended well, or is another worker's by now."""


class GenericWorker(Safeguards, WorkerType, abc.ABC):  # Prefect registers no abstract class: that has been done
    """Runs flow runs on any infrastructure that has a command line, as a recipe says."""

    job_configuration = GenericWorkerJobConfiguration
    job_configuration_variables = GenericWorkerVariables
    cleanup_max_concurrency: ClassVar[int | None] = 10
    serves_pool: ClassVar[bool] = True
    """Whether it looks after all flow runs of its pool, in a process of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever Prefect passes
        super().__init__(*args, **kwargs)
        self._drivers: dict[int, Driver] = {}
        self._checked: object = None
        self._checked_at = -_SAY_AGAIN
        self._watcher = Watcher(self._logger)
        self._assignments = Assignments(self, self._attempts, self._watcher)
        self._adopted: set[asyncio.Task[None]] = set()
        self._watching, self._kept_up = contextlib.AsyncExitStack(), contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start to watch, take over what an earlier worker has left, then work."""
        await self._watching.enter_async_context(self._watcher)
        self._watching.enter_context(counted_jobs(self._watcher))
        try:
            await super().__aenter__()
            if self.serves_pool:
                gc.freeze()  # what has been imported stays: looking through it all again and again stops the event loop
            await self._kept_up.enter_async_context(self._housekeeping())
        except BaseException:
            await self._watching.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop working. The jobs go on: the next worker takes them over."""
        self._say_where_jobs_stand()
        try:
            if any(exc_info):  # it was stopped, and does not wait for its runs; they need the API's client to the last
                await self._stop_following()
            await super().__aexit__(*exc_info)
        finally:
            await self._stop_following()
            await self._watching.aclose()

    @property
    def work_pool(self) -> WorkPool:
        """The work pool. Prefect copies it for each flow run, and holds that until its job has ended."""
        pool = super().work_pool
        if not isinstance(pool.base_job_template, SharedTemplate):
            pool.base_job_template = SharedTemplate(pool.base_job_template)
        return pool

    def _say_where_jobs_stand(self) -> None:
        jobs = sum(bool(assignment.job.id) for assignment in self._assignments)
        if jobs:
            text = (
                "%d jobs go on without this worker. The next one named %r takes them over at once; one of another name "
            )
            text += "does when Prefect calls this one offline."
            self._logger.info(text, jobs, self.name)

    async def _stop_following(self) -> None:
        await self._kept_up.aclose()
        for task in self._adopted:
            task.cancel()
        await asyncio.gather(*self._adopted, return_exceptions=True)

    def _housekeeping(self) -> Housekeeping:
        return Housekeeping(
            self,
            pool=self._work_pool_name,
            name=self.name,
            assignments=self._assignments,
            leases=self._leases,
            recovery=self._recovery(),
            api_clock=self._api_clock,
            adopt=self._adopt,
            is_mine=self._has,
            check_pool=self._check_pool,
            logger=self._logger,
        )

    def _recovery(self) -> Recovery | None:
        """How it takes over the runs of others, if it does."""
        if not self.serves_pool:
            return None
        warn = self._logger.warning
        return Recovery(self, self._attempts, self._api_clock, self._resolve, self.driver, self._has, warn)

    def _has(self, flow_run_id: UUID) -> bool:
        return flow_run_id in self._assignments or flow_run_id in self._submitting_flow_run_ids

    async def _check_pool(self) -> None:
        """Say what is wrong with the pool's recipe as soon as this worker sees it, before the first run needs it."""
        if self._work_pool is None:  # the API was down when this worker started
            return
        template = self._work_pool.base_job_template
        written = template["job_configuration"].get("recipe")
        checked = written, pool_variables(template)
        if checked == self._checked and clock.now() - self._checked_at < _SAY_AGAIN:
            return
        self._checked, self._checked_at = checked, clock.now()
        try:
            if not written:
                raise VariableError(f"recipe: {NO_RECIPE}.")
            recipe = load(written).recipe
            problems = await preflight(recipe, CommandRunner(), checked[1])
        except GenericWorkerError as error:
            problems = [] if isinstance(written, str) and "{{" in written else [str(error)]
        if problems:
            text = "Flow runs of the work pool %r will crash until this is mended:\n%s"
            self._logger.error(text, self._work_pool_name, "\n".join(problems))
        if self.serves_pool:
            tell_readiness(self._work_pool_name, self.name, written, problems, self.event_resources())

    async def _resolve(self, flow_run: FlowRun) -> GenericWorkerJobConfiguration:
        return await self.job_configuration.resolve_for_flow_run(
            flow_run,
            client=self.client,
            work_pool=self.work_pool,
            worker_name=self.name,
            worker_id=self.backend_id,
        )

    def event_resources(self) -> list[RelatedResource]:
        """The work pool and the worker, as resources of an event."""
        return self._event_related_resources(include_self=True)

    def driver(self, recipe: Recipe) -> Driver:
        """The driver of a recipe: one for all the jobs that have the same."""
        if id(recipe) not in self._drivers:
            self._drivers[id(recipe)] = Driver(recipe, MeasuredRunner(recipe.name, recipe.policy.commands))
        return self._drivers[id(recipe)]

    async def run(
        self,
        flow_run: FlowRun,
        configuration: GenericWorkerJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> GenericWorkerResult:
        """Submit a flow run's job and wait for its end.

        Before `task_status.started` an error is raised and makes the run Crashed. After it nothing is raised: Prefect
        would leave the run as it is for ever.

        Raises:
            GenericWorkerError: The job was not submitted; the text says why, and whether it may exist all the same.
        """
        driver = self.driver(configuration.loaded_recipe)
        job = configuration.job(flow_run)
        job.scope = driver.scope(job.values)
        assignment = Assignment(flow_run, self._begun[flow_run.id], job, driver)
        self._assignments.take(assignment)
        for name in configuration.void:
            self.get_flow_run_logger(flow_run).warning("The work pool fixes %s: what was set has no effect.", name)
        try:
            try:
                await self._assignments.submit(assignment)
            except AttemptLostError as lost:
                self.get_flow_run_logger(flow_run).info("Nothing is submitted by this worker: %s", lost)
                _submission_is_over(task_status)
                return GenericWorkerResult(identifier=job.pid, status_code=0)
            except Exception as error:  # reported here, while the run still counts as this worker's
                await self._propose_crashed_state(flow_run, f"The job was not submitted. {error}")
                raise
            configuration.release()
            _submission_is_over(task_status)
            return await self._follow(assignment)
        finally:
            self._assignments.drop(assignment)

    def _release_limit_slot(self, flow_run_id: UUID) -> None:
        """Free a flow run's place in the limit, unless its job is still followed."""
        if flow_run_id not in self._assignments:
            super()._release_limit_slot(flow_run_id)

    async def _follow(self, assignment: Assignment) -> GenericWorkerResult:
        """Follow a job to its end. An error of ours must not decide what becomes of the run: it is tried again."""
        while True:
            try:
                status = await self._assignments.follow(assignment)
                return GenericWorkerResult(identifier=assignment.job.pid, status_code=exit_status(status))
            except Exception:
                logger = self.get_flow_run_logger(assignment.flow_run)
                logger.exception("Following %s failed; it is tried again.", assignment.job.pid)
                await asyncio.sleep(_FOLLOW_AGAIN)

    def _adopt(self, assignment: Assignment) -> None:
        """Follow the job of a flow run that an earlier worker has left. It counts against the limit like any other."""
        self._assignments.take(assignment)
        task = asyncio.create_task(self._follow_adopted(assignment))
        self._adopted.add(task)
        task.add_done_callback(self._adopted.discard)

    async def _follow_adopted(self, assignment: Assignment) -> None:
        borrower = f"adopted {assignment.flow_run.id}"
        slot = asyncio.create_task(self._limiter.acquire_on_behalf_of(borrower)) if self._limiter else None
        try:
            await self._follow(assignment)
        finally:
            self._assignments.drop(assignment)
            if slot is not None and self._limiter is not None:
                slot.cancel()
                with contextlib.suppress(asyncio.CancelledError, RuntimeError):
                    await slot
                    self._limiter.release_on_behalf_of(borrower)

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: GenericWorkerJobConfiguration, grace_seconds: int = 30
    ) -> None:
        """End the job of a flow run.

        Raises:
            InfrastructureNotFound: It is proven that there is no such job, or that it has ended.
            InfrastructureNotAvailable: The job is not this pool's, lives elsewhere, or nobody can say if it exists.
        """
        del grace_seconds  # how a job is asked to end, and for how long, is the recipe's policy
        reference = JobReference.parse(infrastructure_pid)
        flow_run = configuration.flow_run  # whose pid it is; the pid itself may claim anybody's job
        assignment = self._assignments.get(flow_run.id) if flow_run else None
        if assignment is None or reference is None or assignment.job.key != reference.key:
            driver = self.driver(configuration.loaded_recipe)
            status = await end_unwatched_job(infrastructure_pid, configuration, driver, self._watcher, self._logger)
        else:
            ended = await self._assignments.end(assignment)
            if ended is None:
                raise InfrastructureNotFound(f"{infrastructure_pid}: the job was not submitted.")
            status = ended
        if status.state is JobState.UNKNOWN or status.state.alive:
            raise InfrastructureNotAvailable(
                f"{infrastructure_pid}: the job could not be ended; its state is {status}."
            )


def _submission_is_over(task_status: anyio.abc.TaskStatus[Any] | None) -> None:
    """Let Prefect go on. It is not told the pid: it would write that once more, later, and without a look.

    Told nothing, it frees the run's place in the limit, which `_release_limit_slot` does not let it do before the end.
    """
    if task_status is not None:
        task_status.started(None)
