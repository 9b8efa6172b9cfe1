"""Giving a flow run that has no job, or none any more, back to whichever worker asks next."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, cast

from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.states import Scheduled
from prefect.utilities.engine import propose_state

from generic_worker.errors import AttemptLostError
from generic_worker.job import JobState
from generic_worker.jobs.metrics import FLOW_RUNS

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect.client.schemas.objects import State
    from prefect.types import DateTime

    from generic_worker.job import Job, JobStatus
    from generic_worker.jobs.driver import Driver
    from generic_worker.worker.api_calls import ApiClock
    from generic_worker.worker.attempts import Attempt, Attempts

_AWAITING_SLOT, _SLOT_WAIT = "AwaitingConcurrencySlot", timedelta(seconds=30)
"""What Prefect calls a run for which no slot is free, and after how long that asks again."""


async def give_back(attempts: Attempts, attempt: Attempt, end: Callable[[State], State | None]) -> State | None:
    """Give a flow run that has no job another state, if its attempt is this worker's.

    Args:
        attempts: What this worker does to the attempts that it has.
        attempt: The attempt.
        end: Says which state, from the one that the run is in; None to leave it as it is.

    Returns:
        The state that the run has then; None if nothing was done.
    """

    async def settle() -> State | None:
        state = end(attempt.state)
        return await propose_state(attempts.client, state, flow_run_id=attempt.flow_run_id) if state else None

    try:
        done = await attempts.step(attempt, settle)
    except (Abort, Pause, ObjectNotFound, AttemptLostError):
        return None
    FLOW_RUNS.labels("handed_back").inc(done is not None and done.is_scheduled())
    return done


def awaiting_slot(api_clock: ApiClock) -> State:
    """The state of a run that has lost its concurrency slot, and waits for another one without a job."""
    return Scheduled(
        name=_AWAITING_SLOT,
        scheduled_time=cast("DateTime", api_clock.now() + _SLOT_WAIT),
        message="Its concurrency slot was lost, and none is free. Its job was kept from starting.",
    )


async def put_back(attempts: Attempts, attempt: Attempt, back: State) -> bool:
    """Put a flow run back into the queue that has no job any more, in the given state.

    Returns:
        Whether it is back. If not, its flow has begun, or somebody else has moved it.
    """
    try:
        await attempts.look(attempt, anew=True)  # what was seen while there was a job is not enough
    except AttemptLostError:
        return False
    return await give_back(attempts, attempt, lambda now: back if now.is_pending() else None) is not None


async def is_gone(driver: Driver, job: Job, status: JobStatus) -> bool:
    """Whether a job that was ended is gone without having done its work.

    One that its infrastructure does not show any more is looked up by its key as well.
    """
    if status.state is JobState.ABSENT and driver.recipe.find is not None:
        found, trouble = await driver.find([job])
        return job not in found and job not in trouble
    return (status.state.final and status.state is not JobState.SUCCEEDED) or status.state is JobState.ABSENT
