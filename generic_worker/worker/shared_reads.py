"""Deployments and flows are read once for all the flow runs that need them at about the same time.

For each run Prefect's base worker reads the deployment twice and the flow once: three calls that a burst of thousands,
or the takeover of thousands, has in common.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

from generic_worker.jobs import clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient

T = TypeVar("T", bound=BaseModel)

_HOLDS = 10.0
"""Seconds for which what was read is given to whoever asks. A deployment that was changed is used so much later."""


class SharedReads(Generic[T]):
    """Reads what many ask for at about the same time once. An error is told to all who waited, and not kept.

    Args:
        read: Reads one thing, by its id.
    """

    def __init__(self, read: Callable[[Any], Awaitable[T]]) -> None:
        self._read = read
        self._reads: dict[str, tuple[float, asyncio.Future[T]]] = {}

    async def __call__(self, id_: UUID | str) -> T:
        """A copy of its own for each who asks: Prefect merges a run's variables into what it has read.

        Raises:
            Exception: What the reading raises.
        """
        key, now = str(id_), clock.now()
        self._reads = {one: read for one, read in self._reads.items() if now - read[0] < _HOLDS}
        if key not in self._reads:
            reading = asyncio.ensure_future(self._read(id_))
            reading.add_done_callback(lambda done: self._forget_failure(key, done))
            self._reads[key] = now, reading
        found = await asyncio.shield(self._reads[key][1])
        return found.model_copy(deep=True)

    def _forget_failure(self, key: str, done: asyncio.Future[T]) -> None:
        if (done.cancelled() or done.exception()) and self._reads.get(key, (0, None))[1] is done:
            del self._reads[key]


def share_reads(client: PrefectClient) -> None:
    """Let a worker's client read deployments and flows so. Prefect's base worker has no other place for this."""
    if not isinstance(client.read_deployment, SharedReads):
        vars(client).update(
            read_deployment=SharedReads(client.read_deployment), read_flow=SharedReads(client.read_flow)
        )
