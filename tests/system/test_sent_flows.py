"""Flows that are sent without a deployment: called, submitted, and left to the pool's worker."""

import asyncio
import json
import os
import re
import signal
import stat
import sys
import time
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import WorkPoolStorageConfiguration
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.workers.base import BaseWorker

from generic_worker import GenericWorker, PoolError, VariableError, generic
from generic_worker.library.loading import load
from generic_worker.library.template import base_job_template
from generic_worker.worker import background, pools
from generic_worker.worker.caller import CallerWorker

WAYS = ["__call__", "submit", "submit_to_work_pool"]


@flow
def add(x, y):
    """Add two numbers, here or elsewhere."""
    return x + y


@flow
def rest(seconds):
    """Do nothing for a while."""
    time.sleep(seconds)


@pytest.fixture
def bundles(tmp_path):
    """The directory that callers and jobs share."""
    return tmp_path / "bundles"


@pytest.fixture
def pool(make_pool, bundles, request):
    """A pool of the recipe `process` with storage."""
    return make_pool(re.sub(r"\W+", "-", request.node.name)[-60:].strip("-")).store_in(bundles)


@pytest.fixture(scope="module", autouse=True)
def _ended(server):
    """No worker of this process outlives the server."""
    yield
    background._end()


def left(bundles):
    """What is left of flows that were sent: all but their results, and the time at which that was looked at."""
    return {entry.name for entry in bundles.iterdir()} - {"results", f".tidied-{os.geteuid()}"}


def test_a_flow_that_is_called_returns_what_its_job_returned_and_leaves_nothing(send, pool, bundles, until):
    assert send(pool, "call") == 42

    until(lambda: left(bundles) == set(), 60)
    assert stat.S_IMODE(bundles.stat().st_mode) == 0o700


def test_flows_are_async_bring_files_and_send_others(send, pool, bundles, until):
    answers = send(pool, "each")
    greeting, shouted, place = answers.pop("files")

    assert answers == {"async": 42, "nested": 42}
    assert len(pool.runs()) == 4
    assert (greeting, shouted) == ("hello", "HELLO")
    assert Path(place).parent.parent == bundles
    until(lambda: left(bundles) == {Path(place).parent.name}, 60)
    assert (Path(place) / "written.txt").read_text() == "Ada"  # what it wrote beside its files stays for a while
    assert {entry.name for entry in Path(place).parent.iterdir()} == {"about.json", "files"}


def test_flows_are_submitted_and_waited_for_later(send, pool, bundles, until):
    assert send(pool, "submit") == list(range(1, 11))

    until(lambda: left(bundles) == set(), 60)


def test_a_flow_is_left_to_the_pools_worker(send, pool, start_worker):
    with start_worker(pool.name):
        assert send(pool, "pool") == 42


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_variable_is_refused_before_anything_is_made(pool, bundles, way):
    def refusal(**variables):
        with pytest.raises(VariableError) as refused:
            getattr(generic(work_pool=pool.name, **variables)(add), way)(1, 2)
        return str(refused.value)

    assert refusal(wroking_dir="/tmp") == (
        "process: the recipe has no variable 'wroking_dir'; it has working_dir, directory."
    )
    assert refusal(working_dir=3) == (
        "process: the variable working_dir has a value that does not suit it: 3 is not of type 'string'."
    )
    assert pool.runs() == []
    assert not bundles.exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_flow_is_refused_for_a_pool_that_is_not_there_or_not_fit(make_pool, way):
    def refusal(pool):
        with pytest.raises(PoolError) as refused:
            getattr(generic(work_pool=pool)(add), way)(1, 2)
        return str(refused.value)

    without, other, fixed = (f"{way}-{name}".strip("_") for name in ("without", "other", "fixed"))
    make_pool(without)
    make_pool(other, kind="process")
    template = base_job_template(load("process"))
    template["job_configuration"]["command"] = "run-it"
    make_pool(fixed, template=template).store_in("/nowhere/bundles")

    assert refusal("misspelt") == (
        "There is no work pool 'misspelt'. Make it with: generic-worker pool apply misspelt RECIPE --storage DIRECTORY"
    )
    assert refusal(without) == (
        f"The work pool {without!r} has no storage for flows that are sent without a deployment. "
        f"Give it a shared directory: generic-worker pool apply {without} RECIPE --storage DIRECTORY"
    )
    assert refusal(other) == (
        f"The work pool {other!r} is of type 'process', and @generic wants one of type 'generic'."
    )
    assert refusal(fixed) == (
        f"The work pool {fixed!r} fixes the command of its jobs: they cannot run flows without a deployment."
    )


def test_what_cannot_be_stored_or_submitted_makes_its_run_crashed_and_harms_no_other(pool):
    good = generic(work_pool=pool.name)(add).submit(1, 2)
    with pytest.raises(CrashedRun, match="The flow was not submitted. .*'/no/such/python'"):
        generic(work_pool=pool.name, launcher={"upload": ["/no/such/python"]})(add)(1, 2)
    with pytest.raises(CrashedRun, match="The job was not submitted. "):
        generic(work_pool=pool.name, directory="/proc/nowhere")(add)(1, 2)

    assert good.result(timeout=180) == 3


def test_a_sent_flow_is_cancelled_like_any_other(pool, bundles, until, processes_of):
    future = generic(work_pool=pool.name)(rest).submit(300)
    until(lambda: pool.state(future.flow_run_id) == "Running", 120)
    pool.cancel(future.flow_run_id)
    with pytest.raises(CancelledRun):
        future.result(timeout=180)

    until(lambda: processes_of(pool.job(future.flow_run_id).key) == [], 60)
    until(lambda: left(bundles) == set(), 60)


@pytest.fixture
def gate(tmp_path):
    """A file for which flows wait: there, they end."""
    return tmp_path / "gate"


def test_a_script_that_ends_leaves_its_jobs_to_the_pools_worker_at_once(send, pool, start_worker, until, gate):
    runs = send(pool, "leave", env={"GATE": str(gate)})
    jobs = [pool.job(run) for run in runs]

    assert pool.workers() == []
    with start_worker(pool.name, name="next"):
        until(lambda: {pool.read(run).labels.get("prefect.worker.name") for run in runs} == {"next"}, 120)
        gate.touch()
        assert [pool.ended(run).name for run in runs] == ["Completed"] * 3
    assert [pool.job(run).id for run in runs] == [job.id for job in jobs]


def test_jobs_of_a_script_that_is_killed_are_taken_over_and_end_right(
    start_sending, pool, start_worker, kill_processes_of, until, gate
):
    with start_worker(pool.name, name="next"):
        script = start_sending(pool, "hold", env={"GATE": str(gate)})
        runs = json.loads(script.stdout.readline())
        job = pool.job(runs[0])
        os.killpg(script.pid, signal.SIGKILL)
        script.wait()
        kill_processes_of(job.key)

        until(lambda: {pool.read(run).labels.get("prefect.worker.name") for run in runs} == {"next"}, 150)
        gate.touch()
        states = [pool.ended(run) for run in runs]

    assert [state.name for state in states] == ["Crashed", "Completed", "Completed"]
    assert states[0].message.startswith(f"The process job {job.id} ended as killed")


@pytest.mark.parametrize(("kind", "adopted"), [(CallerWorker, 0), (GenericWorker, 1)])
def test_a_callers_worker_leaves_the_runs_of_others_alone(pool, start_worker, kind, adopted, tmp_path):
    """The other one shows that there is something to be taken over: it does so at once, as the runs are of its name."""
    with start_worker(pool.name, name="gone") as worker:
        run = pool.run(command=f"sh -c 'until [ -e {tmp_path}/open ]; do sleep 0.2; done; exit 3'")
        pool.job(run)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(60)

    async def visit():
        visitor = kind(work_pool_name=pool.name)
        visitor.name = "gone"
        async with visitor:
            found = len(visitor._assignments), visitor.handled_cleanup_kinds
            await visitor._stop_following()
            return found

    assert asyncio.run(visit()) == (adopted, ("cancelling_timeout_teardown.v1",) if adopted else ())
    (tmp_path / "open").touch()
    with start_worker(pool.name, name="gone"):
        assert pool.ended(run).message.endswith("exit code 3.")


def test_a_callers_worker_is_not_what_serves_the_type():
    serving = BaseWorker.get_worker_class_from_type("generic")

    assert type(serving(work_pool_name="any")) is GenericWorker


STORE = """
import argparse, shutil
from pathlib import Path

if __name__ == "__main__":  # the flow's process begins as a copy of this one
    parser = argparse.ArgumentParser()
    parser.add_argument("--bucket", type=Path)
    parser.add_argument("--key")
    parser.add_argument("file", nargs="?")
    given = parser.parse_args()
    if given.file:
        shutil.copy(given.file, given.bucket / given.key)
    else:
        from prefect.bundles.execute import execute_bundle_from_file
        execute_bundle_from_file(str(given.bucket / given.key))
"""
"""Both steps of a store that is not ours, as `prefect work-pool storage configure` writes them into a pool."""


def test_another_storage_than_ours_is_used_and_stays_when_the_recipe_changes(pool, bundles, tmp_path, monkeypatch):
    (tmp_path / "any_store.py").write_text(STORE)
    (tmp_path / "bucket").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    results = pool.read_pool().storage_configuration.default_result_storage_block_id
    step = {"any_store": {"bucket": str(tmp_path / "bucket")}}
    storage = WorkPoolStorageConfiguration(
        bundle_upload_step=step, bundle_execution_step=step, default_result_storage_block_id=results
    )
    pool._call(lambda client: client.update_work_pool(pool.name, WorkPoolUpdate(storage_configuration=storage)))
    options = {"launcher": [sys.executable], "env": {"PYTHONPATH": str(tmp_path)}}

    def applied(recipe):
        plan = asyncio.run(pools.plan(pool.name, load(recipe), pools.Wishes()))
        asyncio.run(pools.carry_out(plan))
        return plan.differs

    assert applied({**load("process").data, "policy": {"poll": 3}})
    assert pool.read_pool().storage_configuration == storage
    assert asyncio.run(pools.describe(pool.name))["storage"] == "any_store"
    assert generic(work_pool=pool.name, **options)(add)(40, y=2) == 42
    assert len(list((tmp_path / "bucket").iterdir())) == 1
