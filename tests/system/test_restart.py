"""Workers that stop, and flow runs that go, while jobs run: the jobs go on, and nothing is submitted twice."""

import os
import signal

import pytest


@pytest.fixture
def gate(tmp_path):
    """A job that notes its start and waits: its command, by exit code; a function that lets it go on; its starts."""
    starts, opened = tmp_path / "starts", tmp_path / "opened"

    def command(code):
        return f"sh -c 'echo start >>{starts}; until [ -e {opened} ]; do sleep 0.1; done; exit {code}'"

    return command, opened.touch, lambda: starts.read_text().splitlines()


@pytest.fixture
def in_background():
    """Let what is started ignore SIGINT from the first, as a script's background processes do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_stops_leaves_its_job_alone_and_the_next_takes_it_over(
    in_background, make_pool, start_worker, until, gate, number, processes_of
):
    command, open_gate, starts = gate
    pool = make_pool(f"stopped-{number.name.lower()}")
    with start_worker(pool.name) as worker:
        run = pool.run(command=command(6))
        job = pool.job(run)
        until(lambda: processes_of(job.key) and starts(), 60)
        worker.send_signal(number)
        worker.wait(60)
    assert processes_of(job.key)
    assert pool.state(run) == "Submitting"
    farewell = "1 jobs go on without this worker. The next one named 'w' takes them over at once"
    assert (farewell in worker.log.read_text()) == (number == signal.SIGTERM)

    open_gate()
    until(lambda: not processes_of(job.key), 60)
    with start_worker(pool.name):
        state = pool.ended(run)

    assert state.message == f"The process job {job.id} ended as finished, exit code 6."
    assert starts() == ["start"]


def test_a_run_whose_deployment_was_deleted_is_followed_all_the_same_by_the_next_worker(
    make_pool, start_worker, until, gate, processes_of
):
    command, open_gate, starts = gate
    pool = make_pool("undeployed")
    with start_worker(pool.name) as worker:
        run, cancelled = pool.run(command=command(6)), pool.run(command="sleep 600")
        jobs = [pool.job(run), pool.job(cancelled)]
        until(lambda: all(processes_of(job.key) for job in jobs) and starts(), 60)
        worker.kill()
        worker.wait(60)
    pool.undeploy()
    with start_worker(pool.name) as worker:
        until(lambda: "Took over 2 flow runs" in worker.log.read_text(), 120)
        pool.cancel(cancelled)
        open_gate()
        assert pool.ended(run).message == f"The process job {jobs[0].id} ended as finished, exit code 6."
        assert pool.ended(cancelled).name == "Cancelled"
    assert starts() == ["start"]
    until(lambda: processes_of(jobs[1].key) == [], 60)


def test_a_run_that_is_deleted_while_its_job_runs_has_that_ended_and_does_not_trouble_the_worker(
    server, make_pool, start_worker, until, processes_of
):
    pool = make_pool("deleted")
    with start_worker(pool.name) as worker:
        run = pool.run(command="sleep 600")
        job = pool.job(run)
        until(lambda: processes_of(job.key), 60)
        (place,) = server.home.glob(f"state/prefect-generic-worker/*/process/{job.key}")
        pool.delete(run)
        until(lambda: not processes_of(job.key) and not place.exists(), 60)

        next_run = pool.run(command="sh -c 'exit 7'")
        assert pool.ended(next_run).message.endswith("exit code 7.")
        assert worker.poll() is None
        log = worker.log.read_text()
    assert "Traceback" not in log


def test_a_run_that_is_cancelled_while_no_worker_is_there_has_its_job_ended_by_the_next(
    make_pool, start_worker, until, gate, processes_of
):
    command, _, starts = gate
    pool = make_pool("cancelled-meanwhile")
    with start_worker(pool.name) as worker:
        run = pool.run(command=command(0))
        job = pool.job(run)
        until(lambda: processes_of(job.key) and starts(), 60)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(60)
    pool.cancel(run)
    with start_worker(pool.name):
        state = pool.ended(run)

    assert state.name == "Cancelled"
    until(lambda: processes_of(job.key) == [], 60)
    assert starts() == ["start"]
