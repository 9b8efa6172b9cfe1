"""The Prefect worker: connects a flow run to a driver and the watcher, and job outcomes to flow run states."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from signal import Signals
from typing import TYPE_CHECKING, Any, ClassVar

from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.workers.base import BaseWorker, BaseWorkerResult

from generic_worker import flow_runs
from generic_worker.cancelling import end_job
from generic_worker.commands import CommandRunner
from generic_worker.configuration import GenericWorkerJobConfiguration, GenericWorkerVariables
from generic_worker.driver import Driver
from generic_worker.errors import GenericWorkerError, SubmitError
from generic_worker.jobs import Job, JobReference, JobState, JobStatus, signal_name
from generic_worker.library import load
from generic_worker.template import base_job_template
from generic_worker.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import anyio.abc
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from typing_extensions import Self

    from generic_worker.recipe import Recipe
    from generic_worker.watcher import Watch

_KILL_PATIENCE = 20.0
"""Seconds that `kill_infrastructure` waits for an infrastructure to answer; then Prefect asks again later."""
_REPORT_GRACE = 10.0
"""Seconds that a flow run has to report its end after its job has ended well."""


class GenericWorkerResult(BaseWorkerResult):
    """How a job ended. `status_code` is its exit code, and never 0 unless it ended well."""


@dataclass(slots=True, eq=False)
class Active:
    """A flow run whose job this worker is responsible for.

    Attributes:
        flow_run: The flow run, as it was when the worker picked it up.
        job: Its job.
        driver: The driver of its recipe.
        watch: The watch of its job, once that is submitted.
        cancel: Set when the run is being cancelled: its submission is not tried again, and its job is ended.
        cancelling: The task that ends the job.
    """

    flow_run: FlowRun
    job: Job
    driver: Driver
    watch: Watch | None = None
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    cancelling: asyncio.Task[JobStatus] | None = None


class GenericWorker(BaseWorker[GenericWorkerJobConfiguration, GenericWorkerVariables, GenericWorkerResult]):
    """Runs flow runs on any infrastructure that has a command line, as a recipe says."""

    type: str = "generic"
    job_configuration = GenericWorkerJobConfiguration
    job_configuration_variables = GenericWorkerVariables
    cleanup_max_concurrency: ClassVar[int | None] = 10

    _display_name = "Generic"
    _description = "Runs flow runs on any infrastructure that has a command line, as a recipe in the work pool says."
    _documentation_url = "https://pypi.org/project/prefect-generic-worker/"
    _logo_url = "https://raw.githubusercontent.com/PrefectHQ/prefect/main/docs/images/favicon-dark.svg"

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever Prefect passes
        super().__init__(*args, **kwargs)
        self._drivers: dict[int, Driver] = {}
        self._active: dict[UUID, Active] = {}
        self._watcher = Watcher(self._logger)
        self._keepers = contextlib.AsyncExitStack()

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """The template of a pool that was created without one: the bundled `process` recipe."""
        return base_job_template(load("process"))

    async def __aenter__(self) -> Self:
        """Start to watch, then to work."""
        await self._keepers.enter_async_context(self._watcher)
        try:
            return await super().__aenter__()
        except BaseException:
            await self._keepers.aclose()
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop working. The jobs go on: the next worker takes them over."""
        try:
            await super().__aexit__(*exc_info)
        finally:
            await self._keepers.aclose()

    def driver(self, recipe: Recipe) -> Driver:
        """The driver of a recipe: one for all the jobs that have the same."""
        if id(recipe) not in self._drivers:
            self._drivers[id(recipe)] = Driver(recipe, CommandRunner(recipe.policy.commands))
        return self._drivers[id(recipe)]

    async def run(
        self,
        flow_run: FlowRun,
        configuration: GenericWorkerJobConfiguration,
        task_status: anyio.abc.TaskStatus[str] | None = None,
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
        active = self._active[flow_run.id] = Active(flow_run, job, driver)
        try:
            await self._submit(active)
            if task_status is not None:
                task_status.started(job.pid)
            return await self._follow(active)
        finally:
            del self._active[flow_run.id]

    async def _submit(self, active: Active) -> None:
        """Submit a job. Its key is saved before, its id after: whoever comes later finds it by one or the other."""
        job, driver = active.job, active.driver
        await flow_runs.save_pid(self.client, active.flow_run.id, job.pid)
        try:
            if active.cancel.is_set():
                raise SubmitError("the flow run was cancelled before its job was submitted.")
            await driver.submit(job, active.cancel)
        except GenericWorkerError as error:
            if not (isinstance(error, SubmitError) and error.ambiguous):
                driver.discard(job)
            raise
        await flow_runs.save_pid(self.client, active.flow_run.id, job.pid)
        self.get_flow_run_logger(active.flow_run).info("Submitted as %s job %s.", job.recipe, job.id)

    async def _follow(self, active: Active) -> GenericWorkerResult:
        """Watch a submitted job to its end, and report that."""
        job = active.job
        try:
            active.watch = self._watcher.watch(job, active.driver, self._teller(active))
            if active.cancel.is_set():
                self._end(active)
            status = await active.watch.ended
            return await self._conclude(active, status)
        except Exception:
            self.get_flow_run_logger(active.flow_run).exception("The job %s is not watched any more.", job.pid)
            return GenericWorkerResult(identifier=job.pid, status_code=1)
        finally:
            if active.watch is not None:
                self._watcher.forget(active.watch)

    def _teller(self, active: Active) -> Callable[[JobStatus | str], None]:
        """What writes the news of a job into its flow run's log."""
        logger, job = self.get_flow_run_logger(active.flow_run), active.job

        def tell(news: JobStatus | str) -> None:
            if isinstance(news, str):
                logger.warning("%s job %s: %s", job.recipe, job.id, news)
            else:
                logger.info("%s job %s is %s.", job.recipe, job.id, news)

        return tell

    async def _conclude(self, active: Active, status: JobStatus) -> GenericWorkerResult:
        """Report a job's end to Prefect, unless the flow run has done so itself; then clean up."""
        job, driver, logger = active.job, active.driver, self.get_flow_run_logger(active.flow_run)
        if status.state is JobState.SUCCEEDED and await self._reported(active):
            state = None
        else:
            status = await driver.explain(job, status)
            state = await flow_runs.report_end(self.client, active.flow_run.id, end_message(job, status, active.cancel.is_set()))
        if state is not None and state.is_crashed():
            logs = await driver.logs(job)
            if logs:
                logger.error("The last lines of the job's output:\n%s", logs)
            logger.error("%s", end_message(job, status))
        trouble = await driver.cleanup(job)
        if trouble:
            logger.warning("Cleaning up after %s job %s failed: %s", job.recipe, job.id, trouble)
        code = 0 if status.state is JobState.SUCCEEDED else (status.exit_code or (128 + status.signal if status.signal else 1))
        return GenericWorkerResult(identifier=job.pid, status_code=code)

    async def _reported(self, active: Active) -> bool:
        """Whether a flow run whose job ended well has said how it ended. Its report may be on its way."""
        for wait in (0, 1, 2, 3, 4):
            await asyncio.sleep(wait)
            flow_run = await flow_runs.read(self.client, active.flow_run.id)
            if flow_run is None or flow_run.state is None:
                return True
            if not (flow_run.state.is_pending() or flow_run.state.is_running() or flow_run.state.is_cancelling()):
                return True
        return False

    def _end(self, active: Active) -> asyncio.Task[JobStatus]:
        """Start to end an active run's job; once, however often it is asked for."""
        if active.watch is None:
            raise RuntimeError("the job is not watched yet")
        if active.cancelling is None:
            active.cancelling = asyncio.create_task(end_job(self._watcher, active.watch))
        return active.cancelling

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: GenericWorkerJobConfiguration, grace_seconds: int = 30
    ) -> None:
        """End the job of a flow run.

        Raises:
            InfrastructureNotFound: It is proven that there is no such job, or that it has ended.
            InfrastructureNotAvailable: The job is not this pool's, lives elsewhere, or nobody can say whether it is there.
        """
        del grace_seconds  # how a job is asked to end, and for how long, is the recipe's policy
        active = next((a for a in self._active.values() if a.job.pid == infrastructure_pid and a.watch), None)
        if active is not None:
            status = await self._end(active)
        else:
            status = await self._kill(infrastructure_pid, configuration)
        if status.state is JobState.UNKNOWN or status.state.alive:
            raise InfrastructureNotAvailable(f"{infrastructure_pid}: the job could not be ended; its state is {status}.")

    async def _kill(self, pid: str, configuration: GenericWorkerJobConfiguration) -> JobStatus:
        """End a job that this worker does not watch."""
        reference = JobReference.parse(pid)
        recipe, flow_run = configuration.loaded_recipe, configuration.flow_run
        if reference is None or reference.recipe != recipe.name or flow_run is None:
            raise InfrastructureNotAvailable(f"{pid!r} is not a job of this pool's recipe {recipe.name!r}.")
        driver, job = self.driver(recipe), configuration.job(flow_run, reference.key)
        job.scope, job.id, job.fields, job.born = reference.scope, reference.id, reference.fields, 0.0
        if driver.scope(job.values) != job.scope:
            raise InfrastructureNotAvailable(f"{pid!r} lives at {job.scope!r}; this worker is at {driver.scope(job.values)!r}.")
        if not job.id:
            found, trouble = await driver.find([job])
            if not found and trouble:
                raise InfrastructureNotAvailable(f"{pid!r}: the job cannot be looked up: {trouble}")
            if not found:
                raise InfrastructureNotFound(f"{pid!r}: no job has this key.")
        active = Active(flow_run, job, driver)
        watch = self._watcher.watch(job, driver, self._teller(active))
        try:
            first = await asyncio.wait_for(self._first_answer(watch), _KILL_PATIENCE)
            if first is not None:
                raise InfrastructureNotFound(f"{pid!r} has ended already: {first}.")
            return await end_job(self._watcher, watch, _KILL_PATIENCE)
        except asyncio.TimeoutError:
            raise InfrastructureNotAvailable(f"{pid!r}: the infrastructure does not say whether the job is there.") from None
        finally:
            self._watcher.forget(watch)

    async def _first_answer(self, watch: Watch) -> JobStatus | None:
        """The end of a job that has ended already; None when it is alive."""
        self._watcher.hurry(watch)
        while not watch.ended.done():
            if watch.status.state.alive:
                return None
            await asyncio.wait({watch.ended}, timeout=0.2)
        return watch.ended.result()

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Label a flow run. Prefect makes a run Crashed when this fails; labels are not worth that."""
        try:
            await super()._give_worker_labels_to_flow_run(flow_run_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is what counts
            self._logger.warning("Flow run %s could not be labelled: %s", flow_run_id, error)

    async def _propose_crashed_state(self, flow_run: FlowRun, message: str, client: PrefectClient | None = None) -> None:
        """Report a crash, but never over a run that is being cancelled, was rescheduled, or has reported its own end."""
        try:
            state = await flow_runs.report_end(client or self.client, flow_run.id, message)
        except Exception:
            self.get_flow_run_logger(flow_run).exception("Failed to update the state of flow run '%s'", flow_run.id)
        else:
            if state is not None and state.is_crashed():
                self.get_flow_run_logger(flow_run).info("Reported flow run '%s' as crashed: %s", flow_run.id, message)


def end_message(job: Job, status: JobStatus, cancelled: bool = False) -> str:
    """What a flow run's state says about the end of its job: recipe, id, the infrastructure's own words, exit code."""
    name = f"{job.recipe} job {job.id}"
    if cancelled:
        return f"The {name} was ended because the flow run was cancelled."
    if status.state is JobState.ABSENT:
        last = f" The last thing known of it: {status}." if status.word else ""
        return f"The {name} has vanished: {job.recipe} answers, and does not know it any more.{last}"
    if status.state is JobState.SUCCEEDED:
        return f"The {name} has ended ({status}) and the flow run never reported its own end."
    if status.state is JobState.CANCELLED:
        return f"The {name} was cancelled outside Prefect: {status}."
    return f"The {name} ended as {status}.{_explained(status)}"


def _explained(status: JobStatus) -> str:
    if status.exit_code in {126, 127}:
        return " The job's command was not found, or cannot be executed: look at the command and at PATH in the job."
    signal, text = status.signal, ""
    if signal is None and status.exit_code and 128 < status.exit_code < 160:  # noqa: PLR2004 - how shells report signals
        signal = status.exit_code - 128
        text = f" A shell reports {signal_name(signal)} so."
    return f"{text} Often that is the host's answer to too much memory." if signal == Signals.SIGKILL else text
