import asyncio
from uuid import uuid4

import pytest
from pydantic import BaseModel

from generic_worker.worker.shared_reads import SharedReads


class Deployment(BaseModel):
    env: dict[str, str]


class Api:
    """Counts what it is asked, and takes a moment."""

    def __init__(self):
        self.asked, self.up = [], True

    async def read(self, id_):
        self.asked.append(id_)
        await asyncio.sleep(0.1)
        if not self.up:
            raise ConnectionError("down")
        return Deployment(env={"of": str(id_)})


@pytest.fixture
def api():
    return Api()


def test_many_who_ask_at_once_or_soon_after_make_one_call(api, simulated):
    first, second = uuid4(), uuid4()

    async def work():
        shared = SharedReads(api.read)
        found = await asyncio.gather(*(shared(id_) for id_ in (first, second, first, first)))
        await asyncio.sleep(5)
        return [*found, await shared(str(first))]

    found = simulated(work())

    assert [one.env["of"] for one in found] == [str(id_) for id_ in (first, second, first, first, first)]
    assert api.asked == [first, second]


def test_what_was_read_is_read_again_after_a_while(api, simulated):
    async def work():
        shared = SharedReads(api.read)
        await shared("a")
        await asyncio.sleep(11)
        await shared("a")

    simulated(work())

    assert api.asked == ["a", "a"]


def test_what_one_does_to_its_copy_is_not_seen_by_others(api, simulated):
    async def work():
        shared = SharedReads(api.read)
        mine = await shared("a")
        mine.env["MINE"] = "1"
        return await shared("a")

    assert simulated(work()).env == {"of": "a"}


def test_an_error_is_told_to_all_who_wait_and_the_next_call_is_made(api, simulated):
    async def work():
        shared = SharedReads(api.read)
        api.up = False
        failed = await asyncio.gather(shared("a"), shared("a"), return_exceptions=True)
        api.up = True
        return failed, await shared("a")

    failed, found = simulated(work())

    assert [type(error) for error in failed] == [ConnectionError, ConnectionError]
    assert found.env == {"of": "a"}
    assert api.asked == ["a", "a"]


def test_one_who_gives_up_does_not_take_the_call_from_the_others(api, simulated):
    async def work():
        shared = SharedReads(api.read)
        impatient, patient = asyncio.ensure_future(shared("a")), asyncio.ensure_future(shared("a"))
        await asyncio.sleep(0.05)
        impatient.cancel()
        return await patient

    assert simulated(work()).env == {"of": "a"}
    assert api.asked == ["a"]
