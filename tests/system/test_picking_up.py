"""A flow run is picked up by one worker, and not once more when it has ended: on a real server."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from uuid import uuid4

import pytest
from fault_proxy import Fault
from prefect.client.orchestration import get_client
from prefect.exceptions import Abort, ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, Scheduled
from prefect.utilities.engine import propose_state

from generic_worker.worker import polled_runs, transitions
from generic_worker.worker.api_calls import Moment
from generic_worker.worker.attempts import Attempts
from generic_worker.worker.flow_runs import was_scheduled
from generic_worker.worker.polled_runs import PolledRuns


@pytest.fixture
def pool(make_pool):
    return make_pool(f"picking-up-{uuid4().hex[:8]}")


@pytest.fixture
def run(pool):
    return SimpleNamespace(id=pool.run())


@asynccontextmanager
async def api(name="a"):
    """A client, and what a worker of a name does with it."""
    async with get_client() as client:
        yield client, Attempts(name, lambda: client)


async def history(client, run):
    return [state.name for state in await client.read_flow_run_states(run.id)]


async def pick_up(client, worker, run):
    return await worker.begin(await client.read_flow_run(run.id), Moment())


def key(run, attempt):
    return f"pf-{run.id.hex}-{attempt.id.hex[-6:]}"


def test_an_end_that_a_worker_has_reported_is_never_followed_by_a_pick_up(run):
    """What was polled is fresh for seconds, and a request may be on its way for longer than that."""

    async def work():
        async with api("b") as (client, other), api("a") as (_, slow):
            scheduled, read = await client.read_flow_run(run.id), Moment()
            attempt = await pick_up(client, other, run)
            assert await other.report_end(attempt, "exit code 3.", key(run, attempt))

            assert await slow.begin(scheduled, read) is None
            return await history(client, run)

    assert asyncio.run(work()) == ["Scheduled", "Pending", "Submitting", "Crashed"]


@pytest.mark.parametrize("end", [Completed(message="well"), Failed(message="badly"), Crashed(message="killed")])
def test_an_end_that_a_flow_has_reported_is_put_back(run, end):
    async def work():
        async with api("b") as (client, other), api("a") as (_, slow):
            scheduled, read = await client.read_flow_run(run.id), Moment()
            assert await pick_up(client, other, run)
            for state in (Running(), end):
                await client.set_flow_run_state(run.id, state)

            assert await slow.begin(scheduled, read) is None
            assert await slow.begin(scheduled, read) is None  # the one that was put back is as safe as a worker's own
            now = await client.read_flow_run(run.id)
            return now.state.message, await history(client, run)

    message, states = asyncio.run(work())
    assert message == end.message
    assert states == ["Scheduled", "Pending", "Running", end.name, "Pending", end.name]


def test_a_run_that_ended_is_picked_up_when_it_is_scheduled_again(run):
    async def work():
        async with api() as (client, worker):
            first = await pick_up(client, worker, run)
            assert await worker.report_end(first, "exit code 3.", key(run, first))
            await client.set_flow_run_state(run.id, Scheduled())
            second = await pick_up(client, worker, run)
            return first.id != second.id, await worker.report_end(second, "exit code 4.", key(run, second))

    anew, end = asyncio.run(work())
    assert anew
    assert (end.name, end.message) == ("Crashed", "exit code 4.")


def test_a_pick_up_whose_answer_was_lost_is_this_workers(run, api_proxy):
    api_proxy.add(Fault(path=r"/set_state$", drop=True, done=True, times=1))

    async def work():
        async with api() as (client, worker):
            assert await pick_up(client, worker, run)
            return await history(client, run)

    with temporary_settings({PREFECT_API_URL: api_proxy.url}):
        assert asyncio.run(work()) == ["Scheduled", "Pending"]


def test_an_end_that_came_after_a_run_was_picked_up_is_not_put_back(run):
    """A worker is stopped right after it has made the run Pending; another takes that over and runs it."""

    async def work():
        async with api("b") as (client, other):
            state = await propose_state(client, Pending(), flow_run_id=run.id)
            await client.set_flow_run_state(run.id, Scheduled(), force=True)
            attempt = await pick_up(client, other, run)
            assert await other.report_end(attempt, "exit code 3.", key(run, attempt))

            state.state_details.scheduled_time = None
            await was_scheduled(client, run.id, state)
            return await history(client, run)

    assert asyncio.run(work()) == ["Scheduled", "Pending", "Scheduled", "Pending", "Submitting", "Crashed"]


def test_of_a_run_that_is_not_there_any_more_is_told(run, pool):
    async def work():
        async with api() as (client, worker):
            flow_run = await client.read_flow_run(run.id)
            await client.delete_flow_run(run.id)
            with pytest.raises(ObjectNotFound):
                await worker.begin(flow_run, Moment())

    asyncio.run(work())


def test_a_run_that_was_cancelled_is_not_picked_up(run):
    async def work():
        async with api() as (client, worker):
            flow_run = await client.read_flow_run(run.id)
            await client.set_flow_run_state(run.id, Cancelled())
            with pytest.raises(Abort):
                await worker.begin(flow_run, Moment())
            return await history(client, run)

    assert asyncio.run(work()) == ["Scheduled", "Cancelled"]


def test_runs_that_wait_are_read_again_together(pool, monkeypatch):
    ids = [pool.run() for _ in range(6)]
    queries = []

    async def work():
        async with api() as (client, _):
            polled = PolledRuns(lambda: client)
            runs = [await client.read_flow_run(id_) for id_ in ids]
            polled.note(runs, Moment(), ())
            assert [(await polled.now(run))[0].id for run in runs] == ids
            monkeypatch.setattr(polled_runs, "_JUST_NOW", 0.0)

            async def count(request):
                queries.append(request.url.path)

            client._client.event_hooks["request"].append(count)
            await client.set_flow_run_state(ids[0], Cancelled())
            await client.delete_flow_run(ids[1])
            await client.set_flow_run_state(ids[2], Scheduled(), force=True)
            polled.forget(ids[5])
            queries.clear()
            first = await polled.now(runs[3])
            monkeypatch.setattr(polled_runs, "_JUST_NOW", 60.0)
            return first, [await polled.now(run) for run in runs[:5]]

    first, now = asyncio.run(work())
    assert first[0].id == ids[3]
    assert [one and one[0].id for one in now] == [None, None, None, ids[3], ids[4]]
    assert queries == ["/api/flow_runs/filter"]


def test_what_is_polled_takes_the_place_of_what_is_known_and_what_has_no_place_is_forgotten(pool):
    ids = [pool.run() for _ in range(3)]

    async def work():
        async with api() as (client, _):
            polled = PolledRuns(lambda: client)
            runs = [await client.read_flow_run(id_) for id_ in ids]
            polled.note(runs, Moment(), ())
            await client.set_flow_run_state(ids[1], Scheduled(), force=True)
            polled.note([await client.read_flow_run(ids[1])], Moment(), {ids[0]})
            with pytest.raises(KeyError):
                await polled.now(runs[2])
            return await polled.now(runs[0]), await polled.now(runs[1])

    waits, moved = asyncio.run(work())
    assert waits[0].id == ids[0]
    assert moved is None


def test_the_id_of_transitions_is_the_same_in_all_versions():
    """Two workers of a rolling upgrade are of two versions."""
    assert str(transitions._PICKED_UP_OR_ENDED) == "8f0d1f5e-9c1f-4f7e-8b52-3f1f1f0c7f5a"
