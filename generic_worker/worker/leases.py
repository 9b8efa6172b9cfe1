"""The concurrency slots of flow runs whose jobs wait in a queue. Prefect keeps a slot only once its flow runs.

A slot is held by a lease. One that has run out, or that a server has forgotten when it was started again, is gone. No
other can be given to a run that is Pending: each state that follows gets the id of the old one, whatever is asked for,
unless the API is told to do without its rules (`force`); and then it would set a run back, too, that has begun or was
cancelled in that moment. But when a flow begins whose run has lost its slot, Prefect takes another one for it, if there
is one. So a free one is left to such a run until then, and where there is none the run goes back into the queue.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from prefect.exceptions import ObjectNotFound

from generic_worker.jobs import clock
from generic_worker.worker.queries import runs_by_id

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import WorkerFlowRunResponse

_SECONDS = 3600.0
"""How long a lease lasts without a worker, where the deployment does not say that (`grace_period_seconds`)."""
_SHORTEST = 300.0
"""How long it lasts at least: it is renewed once a minute, and the API may be down for some."""
_RENEW_EVERY = 60.0
_AT_ONCE = 8
"""Leases that are renewed at once: half of the connections that Prefect's client opens."""


@dataclass(slots=True)
class _Lease:
    id: UUID
    deployment: UUID | None
    since: datetime
    """When the run got into its state, by the API's clock: whose job has waited longest may start first."""
    renewed: float = -math.inf

    def is_due(self) -> bool:
        """Whether it is time to renew it."""
        return clock.now() - self.renewed >= _RENEW_EVERY


class Leases:
    """The leases of the runs that wait, each read once and then renewed every minute.

    Args:
        client: Gives the API's client.
        logger: The worker's log.
    """

    def __init__(
        self, client: Callable[[], PrefectClient], logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
    ) -> None:
        self._client = client
        self._logger = logger
        self._leases: dict[UUID, _Lease | None] = {}  # None for a run whose deployment has no limit
        self._lost: dict[UUID, _Lease] = {}
        self._told: set[UUID] = set()
        self._seen: set[UUID] = set()
        self._spare: dict[UUID | None, int] = {}

    async def renew(self, waiting: Collection[UUID], abandoned: Sequence[FlowRun] = ()) -> None:
        """Renew the leases for which it is time, of the longest wait first; forget those of runs that wait no longer.

        Args:
            waiting: The runs of this worker that wait.
            abandoned: Runs of workers that are gone, as they were just read. They are looked after once: by then they
                are this worker's, or their jobs are where it has no say, and it should not keep their slots for ever.
        """
        new = [run for run in abandoned if run.id not in self._seen]
        self._seen = {run.id for run in abandoned}
        wanted = {*waiting, *(run.id for run in new)}
        self._leases = {run: lease for run, lease in self._leases.items() if run in wanted}
        self._told &= wanted
        unknown = await runs_by_id(self._client(), [run for run in waiting if run not in self._leases])
        lost, self._lost = self._lost, {}
        self._note([*unknown, *(run for run in new if run.id not in self._leases)], lost)
        due = {run: lease for run, lease in self._leases.items() if lease is not None and lease.is_due()}
        gone = await self._renew_all(due)
        if gone:  # unless the run was picked up again since, and has another one
            self._leases = {run: lease for run, lease in self._leases.items() if run not in gone}
            self._note(await runs_by_id(self._client(), list(gone)), gone)
            self._tell_lost(self._lost.keys() & gone.keys())

    def _note(self, runs: Iterable[FlowRun], lost: dict[UUID, _Lease]) -> None:
        """Note the leases of runs that wait, some of which are known to be lost."""
        for run in runs:
            if run.state is None or not run.state.is_pending():
                continue
            id_, known = run.state.state_details.deployment_concurrency_lease_id, lost.get(run.id)
            if known is not None and known.id == id_:
                self._lost[run.id] = known
            else:
                self._leases[run.id] = _Lease(id_, run.deployment_id, run.state.timestamp) if id_ else None

    async def _renew_all(self, due: dict[UUID, _Lease]) -> dict[UUID, _Lease]:
        """Renew leases, a few at a time, those of the longest wait first; returns those that are gone."""
        gate = asyncio.Semaphore(_AT_ONCE)
        seconds = {one: await self._seconds(one) for one in {lease.deployment for lease in due.values()}}

        async def one(run: UUID) -> bool:
            async with gate:
                return await self._renew(run, due[run], seconds[due[run].deployment])

        runs = sorted(due, key=lambda run: due[run].since)
        kept = await asyncio.gather(*map(one, runs))
        return {run: due[run] for run, is_kept in zip(runs, kept, strict=True) if not is_kept}

    async def _renew(self, flow_run: UUID, lease: _Lease, seconds: float) -> bool:
        """Renew a lease; returns False if the API says that there is no such lease any more."""
        try:
            await self._client().renew_concurrency_lease(lease.id, seconds)
        except Exception as error:  # noqa: BLE001 - the next round is the remedy, whatever it was
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.GONE:
                return False
            if flow_run not in self._told:
                self._told.add(flow_run)
                self._logger.warning("Flow run %s: its concurrency lease could not be renewed: %s", flow_run, error)
        else:
            lease.renewed = clock.now()
            self._told.discard(flow_run)
        return True

    async def _seconds(self, deployment: UUID | None) -> float:
        """How long the leases of a deployment's runs are to last."""
        try:
            found = await self._client().read_deployment(deployment) if deployment else None
        except Exception:  # noqa: BLE001 - it was deleted, as a rule; otherwise it is asked again in a minute
            found = None
        options = found.concurrency_options if found is not None else None
        wanted = options.grace_period_seconds if options is not None else None
        return max(wanted or _SECONDS, _SHORTEST)

    def _tell_lost(self, runs: Iterable[UUID]) -> None:
        text = "Flow run %s has lost its concurrency slot: the lease is gone. It gets a free slot when its flow begins,"
        text += " and goes back into the queue if there is none."
        for run in runs:
            self._logger.warning(text, run)

    async def without_slot(self) -> set[UUID]:
        """The runs that have lost their slots, and for which none is free. Who waits longest gets the first."""
        of_deployment: dict[UUID | None, list[UUID]] = defaultdict(list)
        for run in sorted(self._lost, key=lambda run: self._lost[run].since):
            of_deployment[self._lost[run].deployment].append(run)
        free = {deployment: await self._free(deployment) for deployment in of_deployment}
        limited = [
            (deployment, of_deployment[deployment], slots) for deployment, slots in free.items() if slots is not None
        ]
        self._spare = {deployment: slots - len(runs) for deployment, runs, slots in limited}
        return {run for _, runs, slots in limited for run in runs[max(slots, 0) :]}

    async def _free(self, deployment: UUID | None) -> int | None:
        """How many slots of a deployment are free; None if it has no limit any more, or nobody says."""
        try:
            limit = await self._client().read_global_concurrency_limit_by_name(f"deployment:{deployment}")
        except (ObjectNotFound, httpx.HTTPStatusError):
            return None
        return limit.limit - limit.active_slots if limit.active else 0

    def leave_free(self, found: Sequence[WorkerFlowRunResponse]) -> list[WorkerFlowRunResponse]:
        """Those of some scheduled runs that take no slot which is left to a run that has lost its own."""
        wanted = []
        for entry in found:
            deployment = entry.flow_run.deployment_id
            if deployment in self._spare:
                self._spare[deployment] -= 1
            if self._spare.get(deployment, 0) >= 0:
                wanted.append(entry)
        return wanted
