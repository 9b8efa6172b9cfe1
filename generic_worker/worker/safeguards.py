"""What Prefect's base worker does with flow runs, made safe.

No failure of one, nor of the API, ends the worker; and nothing is done to a run that another worker has by now.
Each method here stands in the place of one of Prefect's, and calls that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import Abort, ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Submitting
from prefect.types._datetime import now as current_time
from prefect.utilities.engine import propose_state

from generic_worker.commands.watchdog import start_watchdog
from generic_worker.errors import AttemptLostError
from generic_worker.worker import flow_runs
from generic_worker.worker.api_calls import ApiClock, Moment, look_after_calls
from generic_worker.worker.api_outage import ApiOutage
from generic_worker.worker.attempts import Attempt, Attempts
from generic_worker.worker.leases import Leases
from generic_worker.worker.polled_runs import PolledRuns
from generic_worker.worker.queries import workers_of_pool
from generic_worker.worker.shared_reads import share_reads
from generic_worker.worker.submission_line import SubmissionLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    import anyio.abc
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import WorkerFlowRunResponse
    from prefect.logging.loggers import PrefectLogAdapter
    from prefect.workers.base import BaseWorker, BaseWorkerResult

    _Base = BaseWorker[Any, Any, Any]
else:
    _Base = object  # Prefect registers each subclass of its own as a worker type


NAMESAKE = (
    "Prefect has heard of a worker named %r in this work pool %.0f seconds ago. That is well if it is gone, as after a"
    " restart; if not, give each a name of its own (--name)."
)
"""Said at the start of a worker. Whether the other one is gone is not known before it does something."""


class Safeguards(_Base):
    """For a worker class, before Prefect's own base class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever Prefect passes
        super().__init__(*args, **kwargs)
        self._line = SubmissionLine()
        self._api_clock = ApiClock()
        self._attempts = Attempts(self.name, lambda: self.client)
        self._leases = Leases(lambda: self.client, self._logger)
        self._polled = PolledRuns(lambda: self.client)
        self._begun: dict[UUID, Attempt] = {}
        url = PREFECT_API_URL.value() or ""
        self._polling = ApiOutage("polling for flow runs", self._logger, url, self._api_clock)
        self._syncing = ApiOutage("the worker's heartbeat", self._logger, url, self._api_clock)

    async def start(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever Prefect passes
        """Work until SIGTERM. However the worker ends, its commands end with it.

        Prefect's own handler sends SIGINT, which a process that a script has put into the background ignores.
        """
        loop, work = asyncio.get_running_loop(), asyncio.current_task()

        def stop() -> None:
            self._logger.info("Received SIGTERM: the worker stops.")
            loop.add_signal_handler(signal.SIGTERM, os.kill, os.getpid(), signal.SIGKILL)  # by the second at once
            if work is not None:
                work.cancel()

        start_watchdog()
        with contextlib.suppress(ValueError, RuntimeError):  # in another thread there are no signals
            loop.add_signal_handler(signal.SIGTERM, stop)
        await super().start(*args, **kwargs)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Poll for flow runs. An outage of the API, of whatever kind and length, does not end the worker."""

        def pausing(seconds: float) -> None:  # /health is about this loop, not about the API
            self._last_polled_time = current_time("UTC") + timedelta(seconds=seconds)

        return await self._polling.outlast(super().get_and_submit_flow_runs, [], pausing)

    async def sync_with_backend(self) -> None:
        """Send a heartbeat and read the work pool, likewise."""
        look_after_calls(self.client, self._api_clock)
        share_reads(self.client)
        sync = super().sync_with_backend

        async def greet_and_sync() -> None:
            if self._work_pool is None:
                await self._look_for_a_namesake()
            await sync()

        await self._syncing.outlast(greet_and_sync, None)
        self._refuse_other_types()

    async def _look_for_a_namesake(self) -> None:
        """Say that a worker of this name is there already, before the first heartbeat of this one hides it."""
        try:
            workers = await workers_of_pool(self.client, self._work_pool_name)
        except (ObjectNotFound, httpx.HTTPStatusError):  # no such pool yet, as a rule; the next call says what else
            return
        for worker in workers:
            if worker.name == self.name and worker.status is WorkerStatus.ONLINE and worker.last_heartbeat_time:
                self._logger.info(NAMESAKE, self.name, self._api_clock.age(worker.last_heartbeat_time))

    def _refuse_other_types(self) -> None:
        """Prefect only warns, and hands a worker the runs of a pool whose template is not for it."""
        if self._work_pool is not None and self._work_pool.type != self.type:
            found = f"The work pool {self._work_pool_name!r} is of type {self._work_pool.type!r}"
            raise ValueError(f"{found}: start a worker of that type, or make a pool of type {self.type!r}.")

    def get_flow_run_logger(self, flow_run: FlowRun) -> PrefectLogAdapter:
        """The log of a flow run."""
        log = super().get_flow_run_logger(flow_run)
        return flow_runs.FlowRunLogger(log.logger, log.extra)

    def leave_line(self, flow_run: FlowRun) -> None:
        """Let the next flow run make its calls: this one's submit command begins."""
        self._line.leave(flow_run.id)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Submit a flow run. Whatever goes wrong with one run must not end the worker; it is picked up again."""
        try:
            async with self._line.place(flow_run.id):
                now = await self._polled.now(flow_run)
                if now is not None:  # else it was cancelled or deleted meanwhile, or another worker has it
                    await super()._submit_run(now[0])
            self._release_limit_slot(flow_run.id)  # Prefect does not where the deployment is gone; twice does no harm
        except Exception as error:  # noqa: BLE001 - see above
            self.get_flow_run_logger(flow_run).warning("Picking up the flow run failed; it is tried again: %s", error)
            self._release_limit_slot(flow_run.id)
        finally:
            self._submitting_flow_run_ids.discard(flow_run.id)
            self._polled.forget(flow_run.id)

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        """Poll for flow runs that are due soon by the API's clock, and note when; for none while many wait already."""
        if self._line.is_full:
            return []
        polled, ahead = Moment(), self._api_clock.ahead()
        self._prefetch_seconds -= ahead
        try:
            found = await super()._get_scheduled_flow_runs()
        finally:
            self._prefetch_seconds += ahead
        self._polled.note((entry.flow_run for entry in found), polled, self._submitting_flow_run_ids)
        # A run that is back already, while its last job is on its way out, cannot have a second place in the limit.
        borrowers = self._limiter.statistics().borrowers if self._limiter else ()
        return self._leases.leave_free([entry for entry in found if entry.flow_run.id not in borrowers])

    async def _submit_run_and_capture_errors(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[Any] | None = None
    ) -> BaseWorkerResult | Exception:
        """Submit a flow run that was picked up, and follow it to its end."""
        with self._at(flow_run, self._begun[flow_run.id]):
            return await super()._submit_run_and_capture_errors(flow_run, task_status)

    @contextlib.contextmanager
    def _at(self, flow_run: FlowRun, attempt: Attempt) -> Iterator[None]:
        """Be at an attempt at a flow run. What comes of it is named after that."""
        flow_run.state, flow_run.state_id = attempt.state, attempt.id
        self._begun[flow_run.id] = attempt
        try:
            yield
        finally:
            if self._begun.get(flow_run.id) is attempt:  # and not the run's next one
                del self._begun[flow_run.id]

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        """Pick a flow run up."""
        logger = self.get_flow_run_logger(flow_run)
        try:
            now = await self._polled.now(flow_run)  # the reading of its deployment may have taken long
            attempt = await self._attempts.begin(flow_run, now[1]) if now is not None else None
        except Abort as abort:
            logger.info("The flow run is not submitted by this worker: %s", abort)
            return False
        if attempt is None:
            logger.info("The flow run is not submitted by this worker: another one has it, or it was rescheduled.")
            return False
        self._begun[flow_run.id] = attempt
        self._polled.forget(flow_run.id)
        return True

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Say whose a flow run is. Prefect makes a run Crashed when this fails; it is not worth that."""
        label, attempt = super()._give_worker_labels_to_flow_run, self._begun[flow_run_id]
        try:
            await self._attempts.step(attempt, lambda: label(flow_run_id))
        except AttemptLostError as lost:
            self._logger.debug("Flow run %s is not labelled: %s", flow_run_id, lost)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is what counts
            self._logger.warning("Flow run %s could not be labelled: %s", flow_run_id, error)

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Say that a job is about to be submitted, if it is."""
        propose = partial(propose_state, self.client, Submitting(), flow_run_id=flow_run.id)
        with contextlib.suppress(Abort, AttemptLostError, ObjectNotFound):
            await self._attempts.step(self._begun[flow_run.id], propose)

    async def _propose_crashed_state(
        self, flow_run: FlowRun, message: str, client: PrefectClient | None = None
    ) -> None:
        """Report a crash, but never over a run that is being cancelled, was rescheduled, or has reported its end."""
        del client  # the same
        attempt = self._begun.get(flow_run.id) or await self._attempts.own(flow_run.id)
        try:
            state = await self._attempts.report_end(attempt, message, flow_runs.job_key(flow_run)) if attempt else None
        except Exception:  # noqa: BLE001 - a worker must not fall over one run, and the next round looks at it again
            self.get_flow_run_logger(flow_run).exception("Failed to update the state of flow run '%s'", flow_run.id)
        else:
            if state is not None and state.is_crashed():
                self.get_flow_run_logger(flow_run).info("Reported flow run '%s' as crashed: %s", flow_run.id, message)
