"""One more try for a flow run whose job the infrastructure has ended: preempted, or its node lost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from prefect.states import Crashed, Scheduled
from prefect.utilities.engine import propose_state

from generic_worker.worker import flow_runs
from generic_worker.worker.api_calls import FRESH, Moment, only_while
from generic_worker.worker.histories import in_order, is_outdated

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from generic_worker.language.recipe import Resubmit
    from generic_worker.worker.attempts import Attempt, Attempts

RESUBMITTED = "Resubmitted"
"""The name of the state in which such a run waits for a worker. So many of them in its history, so many tries."""


async def resubmit(attempts: Attempts, attempt: Attempt, key: str, policy: Resubmit, message: str) -> State | None:
    """Put a flow run back into the queue, for whichever worker asks next. Its next job has a key of its own.

    Args:
        attempts: What this worker does to the attempts that it has.
        attempt: The attempt whose job has ended.
        key: The key of that job.
        policy: How often, and whether also when its flow has begun.
        message: What is said of the end of its job.

    Returns:
        The state that it was given; None if it is not to be submitted again, or is not there any more.
    """
    client = attempts.client
    flow_run = await flow_runs.read(client, attempt.flow_run_id)
    if flow_run is None or flow_run.state is None or not flow_runs.is_active(flow_run):
        return None
    begun = not flow_run.state.is_pending()
    if flow_run.state.is_cancelling() or (begun and not policy.begun):
        return None
    states = await flow_runs.patiently(lambda: client.read_flow_run_states(flow_run.id))
    tries = sum(state.name == RESUBMITTED for state in states)
    outdated = is_outdated(key, in_order(states, flow_run.state))
    if tries >= policy.times or outdated or not await attempts.is_mine(attempt):
        return None

    async def propose(now: State, state: State) -> State | None:
        """Give the flow run a state, if it is still in the one that it was in."""
        looked = Moment()
        there = await client.read_flow_run(flow_run.id)
        if there.state is None or there.state.id != now.id:
            return None
        with only_while(lambda: looked.age < FRESH):
            return await propose_state(client, state, flow_run_id=flow_run.id)

    text, now = f"{message} It is submitted again ({tries + 1} of {policy.times}).", flow_run.state
    if begun:  # a run that has tried again within its job is handed to a worker only when it comes from an end
        crashed = await attempts.conclude(partial(propose, now, Crashed(message=message)))
        if crashed is None or not crashed.is_crashed():
            return None
        now = crashed
    state = await attempts.conclude(partial(propose, now, Scheduled(name=RESUBMITTED, message=text)))
    return state if state is not None and state.is_scheduled() else None
