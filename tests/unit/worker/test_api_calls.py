import asyncio
import threading
from datetime import datetime, timedelta, timezone

import httpx
import pytest

from generic_worker.worker import api_calls
from generic_worker.worker.api_calls import ApiClock, Moment, OutdatedCallError, look_after_calls, only_while
from generic_worker.worker.flow_runs import is_passing


class Client:
    """An API that counts what it is asked, behind a client that is made as Prefect's is."""

    def __init__(self, headers=None):
        self.asked = 0
        self._headers = headers or {}
        self._client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, _request):
        self.asked += 1
        return httpx.Response(200, headers=self._headers)

    async def get(self):
        await self._client.get("http://api")


def test_a_moment_is_as_long_ago_as_the_clock_says_that_has_seen_more(monkeypatch):
    async def work():
        moment = Moment()
        assert moment.age < 5
        monkeypatch.setattr(api_calls.time, "time", lambda now=api_calls.time.time: now() + 100)
        slept = moment.age
        monkeypatch.setattr(api_calls.time, "time", lambda now=api_calls.time.time: now() - 500)
        return slept, moment.age

    slept, set_back = asyncio.run(work())

    assert 100 <= slept < 110
    assert 0 <= set_back < 10


def test_a_moment_is_asked_in_any_thread():
    async def work():
        moment, found = Moment(), []
        thread = threading.Thread(target=lambda: found.append(moment.age))
        thread.start()
        thread.join()
        return found

    assert asyncio.run(work())[0] < 60


@pytest.mark.parametrize("wrong_by", [timedelta(minutes=20), timedelta(minutes=-20)])
def test_ages_are_told_by_the_clock_of_the_api(wrong_by):
    there = datetime.now(timezone.utc) - wrong_by

    async def work():
        client, clock = Client({"Date": there.strftime("%a, %d %b %Y %H:%M:%S GMT")}), ApiClock()
        look_after_calls(client, clock)
        await client.get()
        return clock.age(there - timedelta(seconds=60)), clock.ahead()

    age, ahead = asyncio.run(work())

    assert 59 <= age < 120
    assert abs(ahead - wrong_by.total_seconds()) < 60


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}])
def test_an_answer_that_does_not_say_what_time_it_is_changes_nothing(headers):
    async def work():
        client, clock = Client(headers), ApiClock()
        look_after_calls(client, clock)
        await client.get()
        return clock.ahead()

    assert abs(asyncio.run(work())) < 60


def test_no_call_is_made_for_something_that_does_not_hold_any_more():
    async def work():
        client, answers = Client(), iter([True, False, False])
        look_after_calls(client, ApiClock())
        look_after_calls(client, ApiClock())  # once is enough
        with only_while(lambda: next(answers)):
            await client.get()
            for _ in range(2):
                with pytest.raises(OutdatedCallError):
                    await client.get()
        await client.get()
        return client.asked

    assert asyncio.run(work()) == 2


def test_what_holds_for_one_task_is_not_asked_by_another():
    async def work():
        client = Client()
        look_after_calls(client, ApiClock())

        async def outdated():
            with only_while(lambda: False):
                await asyncio.sleep(0)
                with pytest.raises(OutdatedCallError):
                    await client.get()

        await asyncio.gather(outdated(), client.get(), outdated())
        return client.asked

    assert asyncio.run(work()) == 1


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/plain"])
def test_a_page_with_status_200_is_a_failure_that_passes(kind):
    async def work():
        client, clock = Client({"Content-Type": kind, "Date": "Thu, 01 Jan 1970 00:00:00 GMT"}), ApiClock()
        look_after_calls(client, clock)
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await client.get()
        return caught.value, clock.ahead()

    error, ahead = asyncio.run(work())

    problem = f"http://api answers with {kind} and not with JSON. Is PREFECT_API_URL right, or a proxy between?"
    assert str(error) == problem
    assert is_passing(error)
    assert abs(ahead) < 5, "nor is what time it says believed"


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json; charset=utf-8"])
def test_what_is_json_is_an_answer(kind):
    async def work():
        client = Client({"Content-Type": kind})
        look_after_calls(client, ApiClock())
        await client.get()
        return client.asked

    assert asyncio.run(work()) == 1


def test_a_pause_ends_when_the_api_answers_again_of_which_nothing_was_heard_for_a_minute(monkeypatch):
    async def work():
        client, clock = Client({"Content-Type": "application/json"}), ApiClock()
        look_after_calls(client, clock)
        await client.get()
        pause = asyncio.create_task(clock.pause(1000))
        await client.get()
        await asyncio.sleep(0.05)
        early = pause.done()
        monkeypatch.setattr(api_calls.time, "time", lambda now=api_calls.time.time: now() + 100)
        await client.get()
        await asyncio.wait_for(pause, 30)
        await clock.pause(0.01)
        return early

    assert asyncio.run(work()) is False
