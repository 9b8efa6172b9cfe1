import asyncio
import logging
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import (
    AwaitingRetry,
    Cancelling,
    Completed,
    Crashed,
    Paused,
    Pending,
    Retrying,
    Running,
    Scheduled,
    Suspended,
)

from generic_worker.errors import SubmitError
from generic_worker.worker.flow_runs import FlowRunLogger, is_active, is_passing, job_key, patiently

REQUEST = httpx.Request("GET", "http://api")


@pytest.mark.parametrize(
    ("error", "message", "traceback"),
    [(SubmitError("no room: 5%"), "It failed. no room: 5%", False), (ValueError("a defect"), "It failed.", True)],
)
def test_an_error_of_ours_is_logged_as_what_it_says_and_a_defect_with_its_traceback(error, message, traceback, caplog):
    log = FlowRunLogger(logging.getLogger("tests.flow-run"), {})
    try:
        raise error
    except type(error):
        log.exception("It %s.", "failed")

    (record,) = caplog.records
    assert (record.getMessage(), record.levelname, bool(record.exc_info)) == (message, "ERROR", traceback)


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


@pytest.mark.parametrize("code", [401, 403, 409, 422])
def test_a_refusal_may_be_a_mistake_and_is_believed_when_it_lasts(code, simulated):
    answers = iter([http_error(code), http_error(503), http_error(code)])
    calls = []

    async def call():
        calls.append(1)
        error = next(answers, None)
        if error is not None:
            raise error
        return "done"

    async def refused():
        calls.append(1)
        raise http_error(code)

    assert simulated(patiently(call)) == "done"

    calls.clear()
    with pytest.raises(httpx.HTTPStatusError):
        simulated(patiently(refused))
    assert len(calls) == 5


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
        (Paused(), True),
        (Retrying(), True),
        (Suspended(), False),
        (AwaitingRetry(), False),
        (Completed(), False),
        (Crashed(), False),
        (None, False),
    ],
)
def test_a_run_that_was_suspended_or_rescheduled_does_not_count_on_its_job(state, active):
    assert active == is_active(FlowRun(flow_id="00000000-0000-0000-0000-000000000001", state=state))


def a_run(state):
    return FlowRun(id=UUID(int=7), flow_id=uuid4(), state=state, state_id=state.id)


def test_a_jobs_key_is_short_and_plain_and_each_attempt_has_its_own():
    first, second = Scheduled(), Scheduled()

    assert job_key(a_run(first)) == f"pf-{UUID(int=7).hex}-{first.id.hex[-6:]}"
    assert len(job_key(a_run(first))) <= 63
    assert job_key(a_run(first)) != job_key(a_run(second))
