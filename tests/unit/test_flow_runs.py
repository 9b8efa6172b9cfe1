import asyncio

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelling, Completed, Crashed, Paused, Pending, Running, Suspended

from generic_worker.flow_runs import is_active, is_passing, patiently

REQUEST = httpx.Request("GET", "http://api")


def http_error(code):
    return httpx.HTTPStatusError("no", request=REQUEST, response=httpx.Response(code, request=REQUEST))


@pytest.mark.parametrize(
    "error", [http_error(503), http_error(429), httpx.ConnectError("down"), httpx.ReadTimeout("slow")]
)
def test_a_busy_or_absent_api_passes(error):
    assert is_passing(error)


@pytest.mark.parametrize("error", [http_error(404), http_error(422), ValueError("ours")])
def test_what_is_wrong_with_the_call_itself_does_not_pass(error):
    assert not is_passing(error)


def test_a_call_is_made_again_until_the_api_answers():
    answers = iter([http_error(503), httpx.ConnectError("down")])

    async def call():
        error = next(answers, None)
        if error is not None:
            raise error
        return "done"

    assert asyncio.run(patiently(call)) == "done"


def test_a_call_that_cannot_succeed_is_made_once():
    calls = []

    async def call():
        calls.append(1)
        raise ObjectNotFound(http_error(404))

    with pytest.raises(ObjectNotFound):
        asyncio.run(patiently(call))
    assert calls == [1]


@pytest.mark.parametrize(
    ("state", "active"),
    [
        (Pending(), True),
        (Running(), True),
        (Cancelling(), True),
        (Paused(), False),
        (Suspended(), False),
        (AwaitingRetry(), False),
        (Completed(), False),
        (Crashed(), False),
        (None, False),
    ],
)
def test_a_run_that_was_paused_or_rescheduled_does_not_count_on_its_infrastructure(state, active):
    assert active == is_active(FlowRun(flow_id="00000000-0000-0000-0000-000000000001", state=state))
