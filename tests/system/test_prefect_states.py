"""Every state in which a flow run may be when its job dies: which of them make it Crashed, on a real server."""

import time

import pytest
from prefect.client.schemas.objects import FlowRunPolicy
from prefect.states import (
    AwaitingConcurrencySlot,
    AwaitingRetry,
    Cancelling,
    Paused,
    Retrying,
    Running,
    Scheduled,
    Suspended,
)


@pytest.fixture(scope="module")
def pool(make_pool, start_worker):
    """A pool of processes, and a worker for it that polls so seldom that it leaves rescheduled runs alone meanwhile."""
    pool = make_pool("states")
    with start_worker(pool.name, "states"):
        yield pool


def begun(pool):
    """A run whose job runs, and which is Running; and its job."""
    run = pool.run(command="sleep 600")
    job = pool.job(run)
    pool.set_state(run, Running())
    return run, job


def retries(pool, run, kind):
    """Say of a run, as the server does, in which way it is tried again."""
    policy = FlowRunPolicy(retry_type=kind, retries=3)
    pool.update_run(run, empirical_policy=policy)


@pytest.mark.parametrize(
    ("make", "retry_type", "end"),
    [
        (Running, None, "Crashed"),
        (Retrying, None, "Crashed"),
        (AwaitingRetry, "in_process", "Crashed"),
        (Paused, None, "Crashed"),
        (Cancelling, None, "Cancelled"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_run_that_counts_on_its_job_ends_with_it(pool, kill_processes_of, make, retry_type, end):
    run, job = begun(pool)
    if retry_type:
        retries(pool, run, retry_type)
    if make is not Running:
        pool.set_state(run, make(timeout_seconds=600) if make is Paused else make())
    kill_processes_of(job.key)

    assert pool.ended(run).name == end


def in_an_hour(state):
    """A scheduled state whose time has not come: no worker takes the run meanwhile."""
    return state(scheduled_time=Scheduled().timestamp.add(hours=1))


@pytest.mark.parametrize(
    ("make", "retry_type"),
    [(AwaitingRetry, "reschedule"), (Scheduled, None), (AwaitingConcurrencySlot, None), (Suspended, None)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_run_that_a_worker_gets_again_is_left_as_it_is(pool, kill_processes_of, until, make, retry_type):
    run, job = begun(pool)
    if retry_type:
        retries(pool, run, retry_type)
    state = Suspended(timeout_seconds=600) if make is Suspended else in_an_hour(make)
    pool.set_state(run, state)
    kill_processes_of(job.key)
    until(lambda: "is killed" in pool.logs(run), 60)
    time.sleep(3)  # the report would follow at once

    assert pool.state(run) == state.name
