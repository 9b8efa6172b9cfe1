"""The worker in the process of whoever calls a flow: it submits and follows what is called there, and nothing else."""

from __future__ import annotations

import abc
import asyncio
import os
import socket
import warnings
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from prefect.exceptions import ObjectNotFound

from generic_worker.errors import SubmitError
from generic_worker.worker.preparation import no_such_pool, prepared
from generic_worker.worker.worker import GenericWorker, GenericWorkerResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import anyio.abc
    from prefect.client.schemas.objects import FlowRun
    from prefect.flows import Flow, InfrastructureBoundFlow
    from prefect.futures import PrefectFlowRunFuture

    from generic_worker.worker.configuration import GenericWorkerJobConfiguration


warnings.filterwarnings("ignore", "Ad-hoc flow submission via workers is experimental", FutureWarning)


class CallerWorker(
    GenericWorker, abc.ABC
):  # Prefect registers no abstract class: the type's worker stays the other one
    """A worker for the flows that one process calls, in that process.

    It looks after its own flow runs like any worker. Those of others it leaves alone: it polls for none, adopts none,
    and is sent none to clean up after. Its own are left to the pool's worker when its process ends.

    Args:
        work_pool_name: The work pool. It is not made if it is not there.
    """

    serves_pool: ClassVar[bool] = False
    cleanup_max_concurrency: ClassVar[int | None] = 0

    def __init__(self, work_pool_name: str) -> None:
        name = f"python-{os.getpid()}-{uuid4().hex[:6]}@{socket.gethostname()}"
        super().__init__(work_pool_name=work_pool_name, name=name, create_pool_if_not_found=False)
        self._submissions: dict[UUID, asyncio.Event] = {}

    @property
    def is_idle(self) -> bool:
        """Whether it has no flow run to look after."""
        return not self._submissions

    def _refuse_other_types(self) -> None:
        """Nothing: the pool is looked at whenever a flow is sent to it."""

    async def submit(
        self,
        flow: InfrastructureBoundFlow[..., Any],  # type: ignore[override]
        parameters: dict[str, Any] | None = None,
        job_variables: dict[str, Any] | None = None,
        flow_run: FlowRun | None = None,
    ) -> PrefectFlowRunFuture[Any]:
        """Make a flow run and submit its job.

        Returns:
            The flow run's future. By now its job was submitted, or the flow run is Crashed.

        Raises:
            GenericWorkerError: The pool or a job variable is wrong. Nothing was made.
        """
        try:
            self._work_pool = await self.client.read_work_pool(self._work_pool_name)
        except ObjectNotFound:
            raise no_such_pool(self._work_pool_name) from None
        flow = await prepared(flow, self._work_pool, self.client)
        future: PrefectFlowRunFuture[Any] = await super().submit(flow, parameters, job_variables, flow_run)
        if future.flow_run_id in self._submissions:
            await self._submissions[future.flow_run_id].wait()
        return future

    async def _submit_adhoc_run(
        self,
        flow: Flow[..., Any],
        parameters: dict[str, Any] | None = None,
        job_variables: dict[str, Any] | None = None,
        task_status: anyio.abc.TaskStatus[FlowRun] | None = None,
        flow_run: FlowRun | None = None,
    ) -> None:
        """Submit a flow and follow its job. Whatever goes wrong with it must not end what follows the others."""
        made: list[FlowRun] = []

        def started(flow_run: FlowRun) -> None:
            made.append(flow_run)
            self._submissions[flow_run.id] = asyncio.Event()
            if task_status is not None:
                task_status.started(flow_run)

        try:
            await super()._submit_adhoc_run(flow, parameters, job_variables, _Status(started), flow_run)
        except Exception as error:
            if not made:
                raise  # to whoever has called the flow
            await self._propose_crashed_state(made[0], f"The flow was not submitted. {error}")
        finally:
            for run in made:
                self._submissions.pop(run.id).set()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: GenericWorkerJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> GenericWorkerResult:
        """Submit a flow run's job and wait for its end, as any worker does; but say first whose the flow run is."""
        del task_status  # Prefect gives none here
        attempt = await self._attempts.own(flow_run.id)
        if attempt is None:
            raise SubmitError("the flow run was deleted before its job was submitted.")
        with self._at(flow_run, attempt):
            await self._give_worker_labels_to_flow_run(flow_run.id)
            return await super().run(flow_run, configuration, _Status(lambda _: self._submissions[flow_run.id].set()))


class _Status:
    """Where a task says that it has begun, as anyio has it.

    Args:
        begun: Called with what it says.
    """

    def __init__(self, begun: Callable[[Any], None]) -> None:
        self._begun = begun

    def started(self, value: Any = None) -> None:  # noqa: ANN401 - as anyio has it
        """Say that it has begun."""
        self._begun(value)
