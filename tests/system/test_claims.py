"""Of all workers that want a flow run one has it: on a real server, with writers that are late, repeated, and many."""

import asyncio
import sqlite3
from types import SimpleNamespace
from uuid import uuid4

import pytest
from fault_proxy import Fault
from prefect.client.orchestration import get_client
from prefect.exceptions import Abort
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Completed, Crashed, Pending, Running, Scheduled, Submitting

from generic_worker.errors import AttemptLostError
from generic_worker.worker import api_calls
from generic_worker.worker.api_calls import ApiClock, Moment, look_after_calls
from generic_worker.worker.attempts import Attempts
from generic_worker.worker.claims import Claim, read_claims, write_claim
from generic_worker.worker.flow_runs import save_pid
from generic_worker.worker.recovery import Recovery

WRITERS = 24
LATER = "2999-01-01 00:00:00.000000"


@pytest.fixture
def run(make_pool):
    """A flow run, and its pool."""
    pool = make_pool(f"claims-{uuid4().hex[:8]}")
    return SimpleNamespace(id=pool.run(), pool=pool)


def with_clients(work, number=1):
    """Run something with so many clients of the API, each with connections of its own."""

    async def main():
        clients = [get_client() for _ in range(number)]
        for client in clients:
            await client.__aenter__()
            look_after_calls(client, ApiClock())
        try:
            return await work(*clients)
        finally:
            for client in clients:
                await client.__aexit__(None, None, None)

    return asyncio.run(main())


def test_of_many_that_write_a_number_at_once_one_has_it(run):
    attempt = uuid4()

    async def race(*clients):
        won = await asyncio.gather(
            *(write_claim(client, run.id, attempt, 0, Claim("w", str(n))) for n, client in enumerate(clients))
        )
        return won, await read_claims(clients[0], run.id, attempt)

    won, (there,) = with_clients(race, WRITERS)

    assert won.count(True) == 1
    assert there.process == str(won.index(True))


def test_of_many_that_pick_a_run_up_one_has_it_and_of_many_that_take_it_over_too(run):
    async def race(*clients):
        workers = [Attempts(f"w{number}", lambda client=client: client) for number, client in enumerate(clients)]
        flow_run = await clients[0].read_flow_run(run.id)

        async def begin(worker):
            try:
                return await worker.begin(flow_run, Moment())
            except Abort:
                return None

        begun = [attempt for attempt in await asyncio.gather(*map(begin, workers)) if attempt]

        first = (await read_claims(clients[0], run.id, begun[0].id))[0].worker

        async def take(worker):
            attempt, _ = await worker.present(run.id)
            return await worker.take_over(attempt, lambda claim: claim.worker == first)

        others = [worker for worker in workers if worker.me.worker != first]
        taken = await asyncio.gather(*map(take, others))
        return begun, taken, await read_claims(clients[0], run.id, begun[0].id)

    begun, taken, there = with_clients(race, WRITERS)

    assert [attempt.number for attempt in begun] == [0]
    assert taken.count(True) == 1
    assert len(there) == 2


def test_a_claim_whose_answer_was_lost_is_this_workers(run, api_proxy):
    attempt = uuid4()
    api_proxy.add(Fault(path=r"/input$", drop=True, done=True, times=1))

    with temporary_settings({PREFECT_API_URL: api_proxy.url}):
        assert with_clients(lambda client: write_claim(client, run.id, attempt, 0, Claim("w", "me")))
        assert not with_clients(lambda client: write_claim(client, run.id, attempt, 0, Claim("w", "other")))


def test_claims_go_with_their_flow_run(run):
    attempt = uuid4()
    assert with_clients(lambda client: write_claim(client, run.id, attempt, 0, Claim("w", "me")))
    run.pool.delete(run.id)

    assert with_clients(lambda client: read_claims(client, run.id, attempt)) == []
    assert not with_clients(lambda client: write_claim(client, run.id, attempt, 1, Claim("w", "me")))


def test_what_somebody_else_writes_is_nobodys_claim(run):
    attempt = uuid4()

    async def write(client):
        for number, value in [(0, "no JSON"), (1, "[]"), (7, '{"worker": "w", "process": "p"}')]:
            await client.create_flow_run_input(run.id, f"generic-worker-{attempt.hex}-{number}", value)
        return await read_claims(client, run.id, attempt)

    assert [(claim.worker, claim.process) for claim in with_clients(write)] == [("", ""), ("", "")]


def begun(client, name="a"):
    """A worker that has picked up a flow run."""

    async def begin(run):
        worker = Attempts(name, lambda: client)
        return worker, await worker.begin(await client.read_flow_run(run.id), Moment())

    return begin


@pytest.mark.parametrize(
    "happened",
    [
        [Scheduled()],
        [Scheduled(), Pending()],
        [Running(), Completed()],
        [Scheduled(), Pending(), Submitting(), Running(), Completed()],
        [Crashed()],
    ],
    ids=lambda states: " ".join(state.name for state in states),
)
def test_a_worker_that_was_away_does_nothing_to_a_run_that_went_on_without_it(run, monkeypatch, happened):
    called = []

    async def work(client):
        worker, attempt = await begun(client)(run)
        for state in happened:
            await client.set_flow_run_state(run.id, state)
        monkeypatch.setattr(api_calls.time, "time", lambda now=api_calls.time.time: now() + 100)

        async def call():
            called.append(1)

        with pytest.raises(AttemptLostError):
            await worker.step(attempt, call)

    with_clients(work)
    assert called == []


def test_a_worker_that_was_away_does_nothing_to_a_run_that_another_has_taken_over(run, monkeypatch):
    async def work(client):
        worker, attempt = await begun(client)(run)
        other = Attempts("b", lambda: client)
        present, _ = await other.present(run.id)
        assert await other.take_over(present, lambda claim: claim.worker == "a")
        assert (await other.step(present, client.hello)).status_code == 200
        monkeypatch.setattr(api_calls.time, "time", lambda now=api_calls.time.time: now() + 100)
        assert not await worker.is_mine(attempt)
        with pytest.raises(AttemptLostError, match="another worker has the flow run by now, or it was rescheduled"):
            await worker.step(attempt, client.hello)

    with_clients(work)


def test_a_call_that_is_repeated_too_late_is_not_made_again(run, api_proxy, monkeypatch):
    """Prefect's client repeats a call that was refused; meanwhile the process was stopped."""
    api_proxy.add(Fault(path=r"/set_state$", status=503, times=1, headers={"retry-after": "1"}))
    states = []

    async def submit(client):
        flow_run = await client.read_flow_run(run.id)
        polled, now = Moment(), api_calls.time.time

        def later_once_refused():
            return now() + (100 if any(call.status == 503 for call in api_proxy.calls) else 0)

        monkeypatch.setattr(api_calls.time, "time", later_once_refused)
        with pytest.raises(api_calls.OutdatedCallError), api_calls.only_while(lambda: polled.age < api_calls.FRESH):
            await client.set_flow_run_state(flow_run.id, Pending())
        states.extend(await client.read_flow_run_states(run.id))

    with temporary_settings({PREFECT_API_URL: api_proxy.url}):
        with_clients(submit)
    assert [state.name for state in states] == ["Scheduled"]
    assert [call.status for call in api_proxy.calls if call.path.endswith("/set_state")] == [503]


def recorded(server, sql, *values):
    with sqlite3.connect(server.home / "prefect.db", timeout=60) as database:
        return database.execute(sql, values).fetchall()


def test_a_run_that_the_server_marked_late_while_it_was_picked_up_is_this_workers(run, server):
    """The server may be told of the mark later, and take it first."""

    async def work(client):
        worker, attempt = await begun(client)(run)
        (names,) = zip(*recorded(server, "SELECT name FROM pragma_table_info('flow_run_state')"), strict=True)
        own = {"id": f"'{uuid4()}'", "type": "'SCHEDULED'", "name": "'Late'", "timestamp": f"'{LATER}'"}
        picked = ", ".join(own.get(name, name) for name in names)
        insert = f"INSERT INTO flow_run_state ({', '.join(names)}) SELECT {picked} FROM flow_run_state WHERE id = ?"
        recorded(server, insert, str(attempt.id))
        assert [state.name for state in await client.read_flow_run_states(run.id)] == ["Scheduled", "Pending", "Late"]

        assert (await worker.look(attempt, anew=True)).name == "Pending"
        await client.set_flow_run_state(run.id, Submitting(), force=True)
        assert (await worker.look(attempt, anew=True)).name == "Submitting"
        present, _ = await Attempts("b", lambda: client).present(run.id)
        return present.id == attempt.id, present.state.name

    assert with_clients(work) == (True, "Submitting")


def test_a_run_that_was_cancelled_while_it_was_picked_up_is_not_submitted(run, server, monkeypatch):
    """The server may be told of the pick-up later, and take it first."""

    async def work(client):
        worker, attempt = await begun(client)(run)
        await client.set_flow_run_state(run.id, Cancelled(), force=True)
        recorded(server, "UPDATE flow_run_state SET timestamp = ? WHERE id = ?", LATER, str(attempt.id))
        assert [state.name for state in await client.read_flow_run_states(run.id)][-1] == "Pending"

        monkeypatch.setattr(api_calls.time, "time", lambda now=api_calls.time.time: now() + 100)
        with pytest.raises(AttemptLostError, match="the flow run is Cancelled by now"):
            await worker.step(attempt, client.hello)

    with_clients(work)


def test_a_run_is_not_handed_back_for_what_was_read_of_it_before_its_last_worker_was_done(run, monkeypatch):
    """The API takes a minute for one round of the worker that takes over; the other has submitted the job meanwhile."""

    async def work(first, second):
        worker, attempt = await begun(first)(run)
        host, label = SimpleNamespace(client=second, name="b"), second.update_flow_run_labels

        async def take_long(*values):
            await label(*values)
            assert attempt.is_fresh()
            await save_pid(first, run.id, "faulty 1")
            monkeypatch.setattr(api_calls.time, "time", lambda now=api_calls.time.time: now() + 100)

        monkeypatch.setattr(second, "update_flow_run_labels", take_long)
        attempts = Attempts("b", lambda: second)
        recovery = Recovery(host, attempts, ApiClock(), None, None, lambda _: False, None)
        settled = await recovery.take_over([await second.read_flow_run(run.id)], {"b"})
        assert not await worker.is_mine(attempt)
        return settled, [state.name for state in await first.read_flow_run_states(run.id)]

    assert with_clients(work, 2) == (([], []), ["Scheduled", "Pending"])
