"""The states that a flow run has been in, in the order in which the API took them.

A state's timestamp says when the API was told of it. Of two that it is told of at once, either may be taken first: with
a busy database, a flow run is Pending whose last state by the clock is Late, as the server marked it; or is Cancelled,
and Pending is the later one. Two things are certain, and enough: what a flow run says that it is in now was taken last,
and the server marks one Late only while it is scheduled (`EnsureOnlyScheduledFlowsMarkedLate` there).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from prefect.client.schemas.objects import State

_LATE = "Late"


def in_order(states: Iterable[State], now: State | None = None) -> list[State]:
    """The states of a flow run in the order in which the API took them.

    Args:
        states: All the states that it has been in.
        now: The state that it says it is in, where that is known.
    """
    ordered: list[State] = []
    for state in sorted(states, key=lambda state: state.timestamp):
        if now is None or state.id != now.id:
            ordered.insert(_place(state, ordered), state)
    return [*ordered, now] if now else ordered


def _place(state: State, before: Sequence[State]) -> int:
    """Where a state belongs among those that are before it by the clock."""
    scheduled = [at for at, other in enumerate(before, 1) if other.is_scheduled()]
    return scheduled[-1] if state.name == _LATE and scheduled else len(before)


def attempt_of(history: Sequence[State]) -> UUID | None:
    """The attempt that a flow run is in, or was in last: the id of the Pending state with which it began.

    Args:
        history: All the states that it has been in, in order.
    """
    begun = [state for was, state in pairwise([None, *history]) if state and state.is_pending() and not _pending(was)]
    return begun[-1].id if begun else None


def _pending(state: State | None) -> bool:
    return state is not None and state.is_pending()


def is_outdated(key: str, history: Sequence[State]) -> bool:
    """Whether a flow run was picked up again since its job of that key: it was suspended, retried or handed back.

    Args:
        key: The job's key.
        history: The states that the flow run has been in, in order. A flow that retries by itself is scheduled too, but
            is not picked up again.
    """
    own = next((at for at, state in enumerate(history) if key.endswith(f"-{short(state.id)}")), len(history))
    later = history[own:]
    picked_up = sum(was.is_scheduled() and became.is_pending() for was, became in pairwise(later))
    return picked_up > (1 if later and later[0].is_scheduled() else 0)


def short(state_id: UUID) -> str:
    """What stands in a job's key for the attempt at its flow run."""
    return state_id.hex[-6:]
