"""What Prefect's base worker does with flow runs, made safe: no failure of one, nor of the API, ends the worker.

Each method here stands in the place of one of Prefect's, and calls that.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefect.settings import PREFECT_API_URL
from prefect.types._datetime import now as current_time

from generic_worker.worker import flow_runs
from generic_worker.worker.api_outage import ApiOutage
from generic_worker.worker.submission_line import FRESH, SubmissionLine

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.workers.base import BaseWorker

    _Base = BaseWorker[Any, Any, Any]
else:
    _Base = object  # Prefect registers each subclass of its own as a worker type


class Safeguards(_Base):
    """For a worker class, before Prefect's own base class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever Prefect passes
        super().__init__(*args, **kwargs)
        self._line = SubmissionLine()
        url = PREFECT_API_URL.value() or ""
        self._polling = ApiOutage("polling for flow runs", self._logger, url)
        self._syncing = ApiOutage("the worker's heartbeat", self._logger, url)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Poll for flow runs. An outage of the API, of whatever kind and length, does not end the worker."""

        def pausing(seconds: float) -> None:  # /health is about this loop, not about the API
            self._last_polled_time = current_time("UTC") + timedelta(seconds=seconds)

        return await self._polling.outlast(super().get_and_submit_flow_runs, [], pausing)

    async def sync_with_backend(self) -> None:
        """Send a heartbeat and read the work pool, likewise."""
        await self._syncing.outlast(super().sync_with_backend, None)
        self._refuse_other_types()

    def _refuse_other_types(self) -> None:
        """Prefect only warns, and hands a worker the runs of a pool whose template is not for it."""
        if self._work_pool is not None and self._work_pool.type != self.type:
            found = f"The work pool {self._work_pool_name!r} is of type {self._work_pool.type!r}"
            raise ValueError(f"{found}: start a worker of that type, or make a pool of type {self.type!r}.")

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Submit a flow run. Whatever goes wrong with one run must not end the worker; it is picked up again."""
        try:
            async with self._line.place() as waited:
                wanted = await self._still_scheduled(flow_run) if waited > FRESH else flow_run
                if wanted is not None:
                    await super()._submit_run(wanted)
                    return
            self._release_limit_slot(flow_run.id)
        except Exception as error:  # noqa: BLE001 - see above
            self.get_flow_run_logger(flow_run).warning("Picking up the flow run failed; it is tried again: %s", error)
            self._release_limit_slot(flow_run.id)
        finally:
            self._submitting_flow_run_ids.discard(flow_run.id)

    async def _still_scheduled(self, flow_run: FlowRun) -> FlowRun | None:
        """A flow run that has waited in the line, as it is now; None if it was cancelled or deleted meanwhile."""
        now = await flow_runs.read(self.client, flow_run.id)
        return now if now is not None and now.state is not None and now.state.is_scheduled() else None

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Say whose a flow run is. Prefect makes a run Crashed when this fails; it is not worth that."""
        label = super()._give_worker_labels_to_flow_run
        try:
            await flow_runs.patiently(lambda: label(flow_run_id))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is what counts
            self._logger.warning("Flow run %s could not be labelled: %s", flow_run_id, error)

    async def _propose_crashed_state(
        self, flow_run: FlowRun, message: str, client: PrefectClient | None = None
    ) -> None:
        """Report a crash, but never over a run that is being cancelled, was rescheduled, or has reported its end."""
        try:
            state = await flow_runs.report_end(client or self.client, flow_run.id, message, flow_runs.job_key(flow_run))
        except Exception:  # noqa: BLE001 - a worker must not fall over one run, and the next round looks at it again
            self.get_flow_run_logger(flow_run).exception("Failed to update the state of flow run '%s'", flow_run.id)
        else:
            if state is not None and state.is_crashed():
                self.get_flow_run_logger(flow_run).info("Reported flow run '%s' as crashed: %s", flow_run.id, message)
