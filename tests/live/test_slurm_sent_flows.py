"""Flows that are sent to a real Slurm without a deployment, through a directory that the cluster shares."""

import json
import os
import signal
import subprocess

import pytest

from generic_worker.commands.rendering import worker_user


@pytest.fixture(scope="module")
def cluster(slurm):
    """The environment in which Slurm's commands work."""
    return {**slurm, "PATH": os.environ["PATH"]}


@pytest.fixture
def place(tmp_path):
    """Where jobs run, and the pool's storage."""
    (tmp_path / "work").mkdir()
    return {"partition": "debug", "working_dir": str(tmp_path / "work")}


@pytest.fixture
def pool(make_pool, tmp_path, request):
    """A pool of the recipe `slurm` with storage."""
    name = request.node.name.removeprefix("test_")[:50].replace("_", "-")
    return make_pool(name, "slurm").store_in(tmp_path / "bundles")


def left(tmp_path):
    """What is left of flows that were sent."""
    names = {entry.name for entry in (tmp_path / "bundles").iterdir()}
    return names - {"results", f".tidied-{os.geteuid()}"}


def flow_runs_of(bundles, tmp_path):
    """Whose some bundles are."""
    abouts = (tmp_path / "bundles" / bundle / "about.json" for bundle in bundles)
    return {json.loads(about.read_text())["flow_run_id"] for about in abouts}


def test_a_sum_comes_back_from_a_job(send, pool, cluster, place, tmp_path, until):
    assert send(pool, "call", env=cluster, **place) == 42

    (run,) = pool.runs()
    assert run.infrastructure_pid.startswith(f"slurm://{worker_user()}/")
    assert run.job_variables["partition"] == "debug"
    until(lambda: left(tmp_path) == set(), 60)


def test_ten_flows_are_jobs_at_once(send, pool, cluster, place, tmp_path, until):
    assert send(pool, "submit", env=cluster, **place) == list(range(1, 11))

    assert len({run.infrastructure_pid for run in pool.runs()}) == 10
    until(lambda: left(tmp_path) == set(), 60)


def test_the_pools_worker_submits_what_is_left_to_it(send, pool, cluster, place, start_worker):
    with start_worker(pool.name, env=cluster):
        assert send(pool, "pool", env=cluster, **place) == 42

    assert [run.labels["prefect.worker.name"] for run in pool.runs()] == ["w"]


def test_flows_bring_their_files_are_async_and_send_others(send, pool, cluster, place):
    answers = send(pool, "each", env=cluster, **place)

    assert answers.pop("files")[:2] == ["hello", "HELLO"]
    assert answers == {"async": 42, "nested": 42}


def test_a_wrong_variable_is_refused_before_anything_is_stored(start_sending, pool, cluster, tmp_path):
    script = start_sending(pool, "call", env=cluster, partitoin="debug")
    _, err = script.communicate(timeout=200)

    assert err.splitlines()[-1].startswith(
        "generic_worker.errors.VariableError: slurm: the recipe has no variable 'partitoin'; it has partition, account,"
    )
    assert pool.runs() == []
    assert not (tmp_path / "bundles").exists()


@pytest.mark.timeout(600)
def test_jobs_of_a_script_that_is_killed_end_right_with_the_pools_worker(
    start_sending, pool, cluster, place, start_worker, tmp_path, until
):
    with start_worker(pool.name, name="login-node", env=cluster):
        script = start_sending(pool, "hold", env={**cluster, "SECONDS": "60"}, **place)
        runs = json.loads(script.stdout.readline())
        jobs = [pool.job(run) for run in runs]
        os.killpg(script.pid, signal.SIGKILL)
        script.wait()
        until(lambda: pool.state(runs[0]) == "Running", 120)
        subprocess.run(["scancel", "--full", "--signal=KILL", jobs[0].id], env={**os.environ, **cluster}, check=True)

        states = [pool.ended(run, 200) for run in runs]
        # one that ends before the worker has taken it over is the worker's when it is cleaned up
        until(lambda: {pool.read(run).labels["prefect.worker.name"] for run in runs[1:]} == {"login-node"}, 120)

    assert [state.name for state in states] == ["Crashed", "Completed", "Completed"]
    assert [pool.job(run).id for run in runs] == [job.id for job in jobs]
    # The supervisor of the job that was killed may have been told in time to remove its bundle, or not: then the next
    # flow that is sent sees to it.
    until(lambda: flow_runs_of(left(tmp_path), tmp_path) <= {runs[0]}, 60)
