"""Changes of state of which the API refuses the second when one follows the other.

The API makes a flow run Pending also when it has crashed. A worker that has polled the run, and is slow for some
seconds, would so begin again what another has run to its end meanwhile. What the API never takes twice in a row is one
transition id (`PreventDuplicateTransitions`, made for requests that are repeated). So each pick-up has the same
one, and so has each end that a worker reports: no pick-up follows such an end, nor another pick-up.

Not so the ends that flows report themselves. Of those a look at the run tells, seconds before it is picked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import httpx
from prefect.client.schemas import OrchestrationResult
from prefect.exceptions import ObjectNotFound
from prefect.states import Submitting, to_state_create
from prefect.utilities.engine import propose_state

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import State

_PICKED_UP_OR_ENDED = UUID("8f0d1f5e-9c1f-4f7e-8b52-3f1f1f0c7f5a")
"""Made up once; it says nothing else. All versions of this worker must have the same."""


async def propose_once(client: PrefectClient, flow_run_id: UUID, state: State) -> State:
    """Propose a state that follows no other that is proposed so: a pick-up. Returns the state that a flow run has then.

    Raises:
        prefect.exceptions.Abort: The API refuses.
    """
    return await propose_state(cast("PrefectClient", _Transitions(client)), state, flow_run_id=flow_run_id)


async def propose_end(client: PrefectClient, flow_run_id: UUID, end: State, now: State) -> State:
    """Propose the state in which a flow run ends, as `propose_once` does.

    Args:
        client: The API's client.
        flow_run_id: The flow run.
        end: The state.
        now: The state that it is in. Between a pick-up and an end must be another one.
    """
    if now.state_details.transition_id == _PICKED_UP_OR_ENDED:
        await propose_state(client, Submitting(), flow_run_id=flow_run_id)
    return await propose_once(client, flow_run_id, end)


async def put_end_back(client: PrefectClient, flow_run_id: UUID, end: State) -> None:
    """Give a flow run the end that it had, whatever it is in."""
    await _Transitions(client).set_flow_run_state(flow_run_id, end, force=True)


class _Transitions:
    """Sets states as Prefect's client does, which makes up an id for each."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client

    async def set_flow_run_state(
        self,
        flow_run_id: UUID,
        state: State,
        force: bool = False,  # noqa: FBT001, FBT002 - as Prefect's
    ) -> OrchestrationResult[Any]:
        """Set the state of a flow run.

        Raises:
            ObjectNotFound: There is none.
        """
        create = to_state_create(state)
        create.state_details.flow_run_id = flow_run_id
        create.state_details.transition_id = _PICKED_UP_OR_ENDED
        body = {"state": create.model_dump(mode="json", serialize_as_any=True), "force": force}
        try:
            answer = await self._client.request(
                "POST", "/flow_runs/{id}/set_state", path_params={"id": flow_run_id}, json=body
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                raise ObjectNotFound(http_exc=error) from error
            raise
        return OrchestrationResult.model_validate(answer.json())
