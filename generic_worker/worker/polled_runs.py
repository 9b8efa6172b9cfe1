"""The flow runs that wait to be picked up, as they were when they were last read.

A poll has up to 200 runs, and the last may wait for half a minute until its turn has come. Meanwhile it may be
cancelled or deleted; or another worker picks it up, runs it and ends it, and the API lets a run be picked up that has
ended. So what was read counts for seconds, and then the run is read again; those that are next are read with it.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from generic_worker.worker.api_calls import FRESH, Moment
from generic_worker.worker.flow_runs import patiently
from generic_worker.worker.queries import runs_by_id

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

_JUST_NOW = 3.0
"""Seconds for which a run is taken for what was read of it."""
_TOGETHER = 40
"""Flow runs that are read at once: what a worker picks up in a few seconds."""


class PolledRuns:
    """Flow runs that were polled and are not picked up yet.

    Args:
        client: Gives the API's client.
    """

    def __init__(self, client: Callable[[], PrefectClient]) -> None:
        self._client = client
        self._known: dict[UUID, tuple[FlowRun | None, Moment]] = {}
        self._reading = asyncio.Lock()

    def note(self, flow_runs: Iterable[FlowRun], polled: Moment, waiting: Container[UUID]) -> None:
        """Take what a poll has said.

        Args:
            flow_runs: The flow runs that it has found.
            polled: When it was made.
            waiting: Those that wait already. For others that were found before there was no place.
        """
        still = {id_: known for id_, known in self._known.items() if id_ in waiting}
        self._known = still | {flow_run.id: (flow_run, polled) for flow_run in flow_runs}

    def forget(self, flow_run_id: UUID) -> None:
        """A run does not wait any more."""
        self._known.pop(flow_run_id, None)

    async def now(self, flow_run: FlowRun) -> tuple[FlowRun, Moment] | None:
        """A flow run as it is, and when it was read; None if it is not scheduled as it was when it was polled.

        Args:
            flow_run: The flow run, as it was polled.
        """
        holds = _JUST_NOW
        while self._known[flow_run.id][1].age >= holds:
            holds = FRESH  # what was asked for may be a little older when it has come
            async with self._reading:
                if self._known[flow_run.id][1].age >= _JUST_NOW:
                    await self._read([flow_run.id, *islice(self._known, _TOGETHER)])
        found, read = self._known[flow_run.id]
        if found is None or found.state_id != flow_run.state_id:
            return None
        return found, read

    async def _read(self, ids: list[UUID]) -> None:
        read = Moment()
        found = {run.id: run for run in await patiently(lambda: runs_by_id(self._client(), list(dict.fromkeys(ids))))}
        self._known |= {id_: (found.get(id_), read) for id_ in ids if id_ in self._known}
