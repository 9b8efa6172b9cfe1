"""What this worker reports to Prefect about flow runs, and when it reports nothing.

A passing failure of the API is waited out: it never decides what becomes of a run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import PrefectLogAdapter
from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from generic_worker.errors import GenericWorkerError
from generic_worker.worker.api_calls import OutdatedCallError
from generic_worker.worker.histories import in_order, short
from generic_worker.worker.transitions import put_end_back

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

T = TypeVar("T")

OWNER = "prefect.worker.name"
"""The label in which Prefect's worker says who has a flow run."""
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSALS = 5
"""Times that the API may refuse one call before it is believed: 401, 403, 409 and 422 also come by mistake, when a
proxy or the server restarts, a login is renewed, or a database is locked."""


class FlowRunLogger(PrefectLogAdapter):
    """The log of a flow run, in which an error of ours is its own text: that says all, and to whoever reads the log."""

    def exception(self, msg: object, *args: object, exc_info: Any = True, **more: Any) -> None:  # noqa: ANN401
        """Log an error with its traceback, unless its text is for people."""
        error = sys.exc_info()[1]
        if isinstance(error, GenericWorkerError):
            text = str(msg) % args if args else msg
            self.error("%s %s", text, error, **more)
        else:
            super().exception(msg, *args, exc_info=exc_info, **more)


def is_passing(error: BaseException) -> bool:
    """Whether a failed call of the API may succeed when it is made again."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _PASSING
    return isinstance(error, (httpx.TransportError, OutdatedCallError))


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Call the API until it answers, however long that takes. A refusal is an answer when it is the fifth.

    Raises:
        Exception: What the call raises for a reason that does not pass, such as `ObjectNotFound`.
    """
    wait = wait_random_exponential(multiplier=0.5, max=20)
    async for attempt in AsyncRetrying(retry=_is_worth_another, wait=wait, reraise=True):
        with attempt:
            return await call()
    raise AssertionError("unreachable: it tries for ever")


def _is_worth_another(call: RetryCallState) -> bool:
    error = call.outcome.exception() if call.outcome else None
    if error is None or is_passing(error):
        return error is not None
    refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code != httpx.codes.NOT_FOUND
    return refused and call.attempt_number < _REFUSALS


async def read(client: PrefectClient, flow_run_id: UUID) -> FlowRun | None:
    """A flow run as the API has it; None when it was deleted."""
    try:
        return await patiently(lambda: client.read_flow_run(flow_run_id))
    except ObjectNotFound:
        return None


def is_active(flow_run: FlowRun) -> bool:
    """Whether a flow run counts on its job, so that it is Crashed when that has died.

    | State | Counts on its job |
    | --- | --- |
    | Pending, Submitting, InfrastructurePending | yes: it was submitted, or is about to be |
    | Running, Retrying | yes |
    | Cancelling | yes: it is Cancelled when its job has ended |
    | AwaitingRetry, where the policy says `in_process` | yes: its process waits, and Prefect hands it to no worker |
    | AwaitingRetry after a manual retry or a SIGTERM | no: a worker gets it again |
    | Paused | yes: its process waits to be resumed |
    | Suspended | no: it has left its job on purpose, and a worker gets it again |
    | Scheduled, Late, AwaitingConcurrencySlot, Resubmitted | no: a worker gets it again |
    | Completed, Failed, Crashed, Cancelled | no: it has ended |
    """
    state = flow_run.state
    if state is None:
        return False
    if state.is_paused():
        return not state.state_details.pause_reschedule
    if state.is_scheduled():
        return state.name == "AwaitingRetry" and flow_run.empirical_policy.retry_type == "in_process"
    return is_active_state(state)


def is_active_state(state: State) -> bool:
    """Whether a flow run in this state counts on its job, whatever else is true of it: some others do, too."""
    return state.is_pending() or state.is_running() or state.is_cancelling()


def owner(flow_run: FlowRun) -> str | None:
    """The name of the worker that has a flow run, if it has said so."""
    name = flow_run.labels.get(OWNER)
    return None if name is None else str(name)


def job_key(flow_run: FlowRun) -> str:
    """A job's identity: the flow run, and the state from which it was picked up, so that each attempt has its own."""
    attempt = flow_run.state_id or (flow_run.state.id if flow_run.state else None)
    return f"pf-{flow_run.id.hex}-{short(attempt) if attempt else '0'}"


async def was_scheduled(client: PrefectClient, flow_run_id: UUID, pending: State) -> bool:
    """Whether a flow run was scheduled when it was made Pending; else its end is put back.

    The API makes a run Pending also when it has ended: another worker has run it while the request was on its way. One
    that was scheduled has left the time to its Pending state (`CopyScheduledTime` in the server), so that nothing need
    be asked. One that has moved on since then is for the next look at it.
    """
    if pending.state_details.scheduled_time is not None:
        return True
    states = await client.read_flow_run_states(flow_run_id)
    own = next((state for state in states if state.id == pending.id), None)
    history = in_order(states, own)
    if own is None or len(history) == 1:
        return True
    if in_order(states)[-1].id != pending.id and (await client.read_flow_run(flow_run_id)).state_id != pending.id:
        return True
    if history[-2].is_final():
        await put_end_back(client, flow_run_id, history[-2])
    return history[-2].is_scheduled()


async def save_pid(client: PrefectClient, flow_run_id: UUID, pid: str) -> bool:
    """Write down where a flow run's job is, before anything depends on it. Says whether the run is still there."""
    try:
        await client.update_flow_run(flow_run_id, infrastructure_pid=pid)
    except httpx.HTTPStatusError as error:  # Prefect makes no ObjectNotFound of it in this call
        if error.response.status_code == httpx.codes.NOT_FOUND:
            return False
        raise
    return True
