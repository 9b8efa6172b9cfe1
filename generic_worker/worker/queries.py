"""Which flow runs and workers there are: what this worker asks the Prefect API about many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType

from generic_worker.worker.flow_runs import is_active

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, Worker
    from prefect.types import DateTime

ACTIVE = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
_PAGE = 100
"""Flow runs that are read at once: while they are unpacked, the event loop stands still."""
_MOST = 20_000
"""Flow runs that one query may name: SQLite and PostgreSQL both take some 32,000 parameters."""


async def runs_of_pool(
    client: PrefectClient,
    pool: str,
    states: Iterable[StateType],
    since: DateTime | None = None,
    but: Sequence[UUID] = (),
) -> list[FlowRun]:
    """The flow runs of a pool that are in one of some states.

    Args:
        client: The API's client.
        pool: The pool's name.
        states: The states.
        since: Only those that ended after it.
        but: Some that are of no interest. As many as a database takes in one query are not even sent.
    """
    wanted = FlowRunFilter(
        id=FlowRunFilterId(not_any_=list(but[:_MOST])) if but else None,
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
        end_time=FlowRunFilterEndTime(after_=since) if since else None,
    )
    pools = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    return await _all_pages(client, wanted, pools)


async def runs_that_wait_in_their_jobs(client: PrefectClient, pool: str, but: Sequence[UUID] = ()) -> list[FlowRun]:
    """The flow runs of a pool whose processes may be waiting: to try again, or to be resumed.

    Args:
        client: The API's client.
        pool: The pool's name.
        but: Some that are of no interest, as in `runs_of_pool`.
    """
    wanted = FlowRunFilter(
        id=FlowRunFilterId(not_any_=list(but[:_MOST])) if but else None,
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["AwaitingRetry", "Paused"])),
    )
    found = await _all_pages(client, wanted, WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])))
    return [run for run in found if is_active(run)]


async def workers_of_pool(client: PrefectClient, pool: str) -> list[Worker]:
    """The workers of a pool that Prefect knows, whether they are online or not."""
    return await client.read_workers_for_work_pool(pool)


async def runs_by_id(client: PrefectClient, ids: Sequence[UUID], but: Iterable[StateType] = ()) -> list[FlowRun]:
    """Those of some flow runs that have not been deleted.

    Args:
        client: The API's client.
        ids: Their ids.
        but: States in which they are of no interest.
    """
    state = FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(but))) if but else None
    found: list[FlowRun] = []
    for some in _portions(ids):
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=some), state=state)
        found += await _all_pages(client, wanted)
    return found


async def missing_runs(client: PrefectClient, ids: Sequence[UUID]) -> set[UUID]:
    """Those of some flow runs that were deleted. As a rule none was, and counting them says so."""
    missing: set[UUID] = set()
    for some in _portions(ids):
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=some))
        if await client.count_flow_runs(flow_run_filter=wanted) < len(some):
            missing |= set(some) - {run.id for run in await _all_pages(client, wanted)}
    return missing


def _portions(ids: Sequence[UUID]) -> Iterator[list[UUID]]:
    """As many ids at once as a database takes in one query."""
    return (list(ids[at : at + _MOST]) for at in range(0, len(ids), _MOST))


async def _all_pages(
    client: PrefectClient, wanted: FlowRunFilter, pools: WorkPoolFilter | None = None
) -> list[FlowRun]:
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=wanted, work_pool_filter=pools, limit=_PAGE, offset=len(found)
        )
        found += page
        if len(page) < _PAGE:
            return found
