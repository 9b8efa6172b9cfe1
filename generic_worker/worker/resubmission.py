"""One more try for a flow run whose job the infrastructure has ended: preempted, or its node lost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.states import Crashed, Scheduled
from prefect.utilities.engine import propose_state

from generic_worker.worker import flow_runs

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import State

    from generic_worker.language.recipe import Resubmit

RESUBMITTED = "Resubmitted"
"""The name of the state in which such a run waits for a worker. So many of them in its history, so many tries."""


async def resubmit(client: PrefectClient, flow_run_id: UUID, key: str, policy: Resubmit, message: str) -> State | None:
    """Put a flow run back into the queue, for whichever worker asks next. Its next job has a key of its own.

    Args:
        client: The API's client.
        flow_run_id: The flow run.
        key: The key of its job that has ended.
        policy: How often, and whether also when its flow has begun.
        message: What is said of the end of its job.

    Returns:
        The state that it was given; None if it is not to be submitted again, or is not there any more.
    """
    flow_run = await flow_runs.read(client, flow_run_id)
    if flow_run is None or flow_run.state is None or not flow_runs.is_active(flow_run):
        return None
    begun = not flow_run.state.is_pending()
    if flow_run.state.is_cancelling() or (begun and not policy.begun):
        return None
    states = await flow_runs.patiently(lambda: client.read_flow_run_states(flow_run_id))
    tries = sum(state.name == RESUBMITTED for state in states)
    if tries >= policy.times or flow_runs.is_outdated(key, states):
        return None
    text = f"{message} It is submitted again ({tries + 1} of {policy.times})."
    if begun:  # a run that has tried again within its job is handed to a worker only when it comes from an end
        crashed = await _propose(client, flow_run_id, Crashed(message=message))
        if crashed is None or not crashed.is_crashed():
            return None
    state = await _propose(client, flow_run_id, Scheduled(name=RESUBMITTED, message=text))
    return state if state is not None and state.is_scheduled() else None


async def _propose(client: PrefectClient, flow_run_id: UUID, state: State) -> State | None:
    try:
        return await flow_runs.patiently(partial(propose_state, client, state, flow_run_id=flow_run_id))
    except (Abort, Pause, ObjectNotFound):  # moved by somebody else, or deleted
        return None
