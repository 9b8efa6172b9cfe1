"""A loop that goes on while the API does not answer as it should."""

import asyncio
import json
import logging

import httpx
import pytest

from generic_worker.worker import api_outage
from generic_worker.worker.api_calls import ApiClock
from generic_worker.worker.api_outage import ApiOutage, WrongApiError

LOG = logging.getLogger("test.outage")
REQUEST = httpx.Request("GET", "http://prefect.example/api/work_pools/mine")


@pytest.fixture(autouse=True)
def _brief_pauses(monkeypatch):
    monkeypatch.setattr(api_outage, "_FIRST_PAUSE", 0.0)


def status(code):
    return httpx.HTTPStatusError(f"answered {code}", request=REQUEST, response=httpx.Response(code))


def not_json():
    try:
        return json.loads("<html>Bad gateway</html>")
    except ValueError as error:
        return error


FAILURES = {
    "nobody listens": httpx.ConnectError("All connection attempts failed"),
    "no answer in time": httpx.ReadTimeout("timed out"),
    "the answer is cut off": httpx.RemoteProtocolError("peer closed connection"),
    "a proxy's page with status 200": not_json(),
    **{f"status {code}": status(code) for code in (401, 403, 407, 429, 500, 502, 503)},
}


async def outlast(outage, *results):
    """What comes of calls that return or raise, one after the other."""

    async def call(result):
        if isinstance(result, Exception):
            raise result
        return result

    return [await outage.outlast(lambda result=result: call(result), "nothing") for result in results]


@pytest.mark.parametrize("name", FAILURES)
def test_whatever_the_api_answers_the_loop_goes_on_and_says_so_once(name, caplog):
    outage = ApiOutage("polling", LOG, "http://prefect.example/api", ApiClock())

    found = asyncio.run(outlast(outage, "a", FAILURES[name], FAILURES[name], FAILURES[name], "b"))

    assert found == ["a", "nothing", "nothing", "nothing", "b"]
    first, last = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert first.startswith("The Prefect API does not answer as it should, and polling waits for it.")
    assert type(FAILURES[name]).__name__ in first
    assert last.startswith("The Prefect API answers again after ")


def test_an_address_without_an_api_is_said_at_once_but_not_once_there_was_one():
    wrong = ApiOutage("polling", LOG, "http://prefect.example", ApiClock())
    with pytest.raises(WrongApiError) as caught:
        asyncio.run(outlast(wrong, status(404)))

    assert str(caught.value) == (
        "http://prefect.example is not the address of a Prefect API: it answers with 404. Set PREFECT_API_URL."
    )
    right = ApiOutage("polling", LOG, "http://prefect.example/api", ApiClock())
    assert asyncio.run(outlast(right, "a", status(404), "b")) == ["a", "nothing", "b"]


def test_the_pauses_grow_and_stay_under_a_minute(monkeypatch):
    monkeypatch.setattr(api_outage, "_FIRST_PAUSE", 1.0)
    monkeypatch.setattr(api_outage.random, "uniform", lambda _low, high: high)
    slept = []

    class Clock(ApiClock):
        async def pause(self, seconds):
            slept.append(seconds)

    asyncio.run(outlast(ApiOutage("polling", LOG, "", Clock()), *[status(503)] * 9))

    assert slept == [1, 2, 4, 8, 16, 32, 45, 45, 45]


def test_a_page_of_html_is_shown_in_one_short_line(caplog):
    asyncio.run(outlast(ApiOutage("polling", LOG, "", ApiClock()), ValueError("<html>\n" + "<p>no</p>\n" * 100)))

    assert "\n" not in caplog.text.strip()
    assert len(caplog.text) < 500
