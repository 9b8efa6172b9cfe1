"""The concurrency slots of flow runs whose jobs wait in a queue. Prefect keeps a slot only once its flow runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generic_worker.jobs import clock
from generic_worker.worker.queries import runs_by_id

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection
    from uuid import UUID

    from generic_worker.worker.assignments import Host

_SECONDS = 300.0
_RENEW_EVERY = 60.0


@dataclass(slots=True)
class _Lease:
    id: UUID | None
    """None for a run whose deployment has no limit."""
    renewed: float = -math.inf


class Leases:
    """The leases of the runs that wait, each read once and then renewed every minute.

    Args:
        host: The worker.
        logger: Its log.
    """

    def __init__(self, host: Host, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._host = host
        self._logger = logger
        self._leases: dict[UUID, _Lease] = {}
        self._told: set[UUID] = set()

    async def renew(self, waiting: Collection[UUID]) -> None:
        """Renew the leases of those runs for which it is time; forget those of all runs that wait no longer."""
        self._leases = {run: lease for run, lease in self._leases.items() if run in waiting}
        self._told &= set(waiting)
        for run in await runs_by_id(self._host.client, [run for run in waiting if run not in self._leases]):
            if run.state is not None and run.state.is_pending():
                self._leases[run.id] = _Lease(run.state.state_details.deployment_concurrency_lease_id)
        for flow_run, lease in list(self._leases.items()):
            if lease.id is not None and clock.now() - lease.renewed >= _RENEW_EVERY:
                await self._renew(flow_run, lease.id)

    async def _renew(self, flow_run: UUID, lease: UUID) -> None:
        try:
            await self._host.client.renew_concurrency_lease(lease, _SECONDS)
        except Exception as error:  # noqa: BLE001 - the run decides about its slot when it starts
            del self._leases[flow_run]  # and it is read anew
            if flow_run not in self._told:  # a lease that is lost stays so, and the run may wait for hours
                self._told.add(flow_run)
                self._logger.warning("Flow run %s: its concurrency lease could not be renewed: %s", flow_run, error)
        else:
            self._leases[flow_run].renewed = clock.now()
            self._told.discard(flow_run)
