"""Flow runs whose deployment has a concurrency limit, and that have lost their slots while no worker was there.

That a slot is lost is what Prefect's server does when a lease has run out; the tests ask for it at once. The scheduler
is a directory: a job is a file with its state, which the tests write, as they say when its flow begins.
"""

import asyncio
import time
from types import SimpleNamespace
from uuid import uuid4

import pytest
from board import board
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateDetails
from prefect.states import Cancelling, Completed, Pending, Running, Scheduled, State, Submitting

from generic_worker.errors import AttemptLostError
from generic_worker.worker.api_calls import ApiClock, Moment, look_after_calls
from generic_worker.worker.assignments import Assignment, Assignments
from generic_worker.worker.attempts import Attempts
from generic_worker.worker.handing_back import awaiting_slot, put_back

RECIPE = board(
    waits="waiting",
    cancelled="removed",
    columns=["id", "state"],
    states={"pending": ["waiting"], "running": ["active"], "succeeded": ["done"], "cancelled": ["removed"]},
)
LOST = "Flow run {} has lost its concurrency slot: the lease is gone."
BACK = "Its concurrency slot was lost, and none is free. Its job was kept from starting."


@pytest.fixture
def left_behind(make_pool, start_worker, tmp_path):
    """A pool of which one run may be active, with one whose job waits, and without a worker or its slot."""
    pool = make_pool(f"lost-{uuid4().hex[:8]}", RECIPE, limit=1)
    with start_worker(pool.name) as worker:
        run = pool.run(place=str(tmp_path))
        job = pool.job(run)
        worker.kill()
        worker.wait()
    pool.lose_slot(run)
    return pool, run, tmp_path / job.id


def test_a_free_slot_is_left_to_a_run_that_has_lost_its_own_until_its_flow_begins(left_behind, start_worker, until):
    pool, run, job = left_behind
    lost, other = pool.lease(run), pool.run(place=str(job.parent))
    with start_worker(pool.name) as worker:
        until(lambda: "Took over 1 flow runs" in worker.log.read_text(), 120)
        until_then = time.monotonic() + 18  # more than one look at all runs, and many for those that are scheduled
        while time.monotonic() < until_then:
            assert pool.read(other).state.is_scheduled()
            time.sleep(0.5)
        pool.set_state(run, Running())
        assert pool.state(run) == "Running"
        assert pool.lease(run) not in {lost, None}
        pool.set_state(run, Completed())
        job.write_text("done\n")
        pool.job(other)
        log = worker.log.read_text()
    assert [state.name for state in pool.history(run)][-3:] == ["Submitting", "Running", "Completed"]
    assert log.count(LOST.format(run)) == log.count("concurrency slot") == 1
    assert log.index(LOST.format(run)) < log.index("Took over"), "its slot comes first"


def test_a_run_for_which_no_slot_is_free_goes_back_into_the_queue_before_its_job_starts(
    left_behind, start_worker, until
):
    pool, run, job = left_behind
    other = pool.run(place=str(job.parent))
    pool.set_state(other, Pending())  # it has the slot now, and another worker
    with start_worker(pool.name) as worker:
        until(lambda: pool.state(run) == "AwaitingConcurrencySlot", 90)
        assert job.read_text() == "removed\n"
        assert pool.read(run).state.message == BACK
        pool.set_state(other, Running())
        assert pool.state(other) == "Running"
        pool.set_state(other, Completed())
        pool.set_state(run, Scheduled())  # sooner than in 30 seconds
        again = until(lambda: (now := pool.job(run)).id != job.name and now, 120)
        log = worker.log.read_text()
    assert {path.name for path in job.parent.iterdir()} == {job.name, again.id}
    assert [state.name for state in pool.history(run)] == [
        *("Scheduled", "Pending", "Submitting", "AwaitingConcurrencySlot"),
        *("Scheduled", "Pending", "Submitting"),
    ]
    assert log.count(LOST.format(run)) == 1


JOB = SimpleNamespace(key="pf-1", recipe="board", pid="generic:board:pf-1", id="")


class Driver:
    """A driver that asks whether it may submit, and should not be told so."""

    async def submit(self, job, caller):
        raise AssertionError(f"{job.key} may be submitted: {await caller.permit()}")


@pytest.fixture
def run(make_pool):
    """A flow run, and its pool."""
    pool = make_pool(f"back-{uuid4().hex[:8]}", RECIPE, limit=1)
    return SimpleNamespace(id=pool.run(place="/"), pool=pool)


def begun(run, work):
    """Do something with a run that a worker has picked up: work(client, that worker's attempts, its attempt)."""

    async def main():
        async with get_client() as client:
            look_after_calls(client, ApiClock())
            worker = Attempts("w", lambda: client)
            attempt = await worker.begin(await client.read_flow_run(run.id), Moment())
            return await work(client, worker, attempt)

    return asyncio.run(main())


def test_a_job_is_not_submitted_whose_run_is_to_go_back(run):
    async def work(client, worker, attempt):
        host = SimpleNamespace(client=client, get_flow_run_logger=lambda _: SimpleNamespace(warning=print, info=print))
        flow_run = await client.read_flow_run(run.id)
        assignment = Assignment(flow_run, attempt, JOB, Driver(), goes_back_as=awaiting_slot(ApiClock()))
        with pytest.raises(AttemptLostError, match=r"^it has lost its concurrency slot, and is back in the queue\.$"):
            await Assignments(host, worker, None).submit(assignment)

    begun(run, work)
    assert run.pool.state(run.id) == "AwaitingConcurrencySlot"


@pytest.mark.parametrize("now", ["Running", "Cancelling", "another worker's"])
def test_a_run_that_has_moved_on_is_not_put_back(run, now):
    async def work(client, worker, attempt):
        if now == "another worker's":
            other = Attempts("b", lambda: client)
            present, _ = await other.present(run.id)
            assert await other.take_over(present, lambda claim: claim.worker == "w")
        else:
            await client.set_flow_run_state(run.id, {"Running": Running, "Cancelling": Cancelling}[now]())
        return await put_back(worker, attempt, awaiting_slot(ApiClock()))

    assert begun(run, work) is False
    assert run.pool.state(run.id) == ("Pending" if now == "another worker's" else now)


def test_prefect_gives_no_new_lease_to_a_run_that_is_pending(run):
    """If this fails, Prefect has learned it, and a lost slot could be had back at once."""
    lease = uuid4()

    async def work(client, _, attempt):
        await client.set_flow_run_state(run.id, Submitting())
        wanted = StateDetails(deployment_concurrency_lease_id=lease)
        other = State(type=attempt.state.type, name="InfrastructurePending", state_details=wanted)
        return (await client.set_flow_run_state(run.id, other)).status.value

    assert begun(run, work) == "ACCEPT"
    assert run.pool.state(run.id) == "InfrastructurePending"
    assert run.pool.lease(run.id) not in {lease, None}
