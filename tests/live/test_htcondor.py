"""What HTCondor does with jobs that are removed, held or evicted: when that is an end, and what it is said to be."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import subprocess
import uuid
from pathlib import Path

import pytest

from generic_worker.commands.rendering import job_values
from generic_worker.commands.runner import CommandRunner
from generic_worker.job import Job, JobState
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

SOON = 120
SLEEPS = "sleep 300 & wait"
IGNORES_TERM = "trap '' TERM; sleep 300; sleep 300"
OWNER = "condor-jobs"
AFTER = 60
"""Seconds after a job's end at which none of its processes is alive any more: they would sleep for 300."""


def alive(pids):
    return [pid for pid in pids if Path("/proc", pid).exists()]


class Pool:
    """HTCondor through the recipe: jobs that write the id of their first process to a file, and then run a script.

    The first process, which is the guardian, is the one whose end HTCondor waits for. It kills the others with it, or
    up to a second later, when it has already said that the job is over. So these have until `AFTER`.
    """

    def __init__(self, folder, poll=1):
        recipe = load("htcondor").recipe
        policy = recipe.policy.model_copy(update={"poll": poll, "grace": 1})
        self.driver = Driver(recipe.model_copy(update={"policy": policy}), CommandRunner(4))
        self.pids = folder / "pids"
        self.defaults = {name: schema.get("default") for name, schema in recipe.variables.items()}

    def job(self, script, *lines, **variables):
        key = f"pf-{uuid.uuid4().hex}-0"
        command = shlex.join(["sh", "-c", f"echo $PPID >>{self.pids}; {script}"])
        about = {"job_key": key, "job_name": key, "command": command, "env": {}, "labels": {}}
        values = self.defaults | {"submit_commands": ["job_max_vacate_time = 3", *lines]} | variables
        return Job(key, job_values(self.driver.recipe, values, about), "htcondor", self.driver.scope({}))

    async def follow(self, job, then=None, when=JobState.RUNNING):
        """Submit a job, run a command of HTCondor's on it when it is in a state, and watch it until it has ended.

        Returns its last status, and its first processes that were alive then.
        """
        await self.driver.submit(job)
        async with Watcher(logging.getLogger(__name__)) as watcher:
            watch = watcher.watch(job, self.driver, lambda _: None)
            while then and not (watch.status.state is when and (self.started() or when is not JobState.RUNNING)):
                assert not watch.ended.done(), watch.status
                await asyncio.sleep(0.1)
            if then:
                await asyncio.to_thread(subprocess.run, [*then, job.id], check=True, capture_output=True)
            status = await asyncio.wait_for(watch.ended, SOON)
            return status, alive(self.started())

    def run(self, *arguments, **options):
        return asyncio.run(self.follow(*arguments, **options))

    def started(self):
        """The first process of each start of the job."""
        return self.pids.read_text().split() if self.pids.exists() else []


@pytest.fixture
def pool(backends, tmp_path, monkeypatch):
    for name, value in backends("htcondor").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Pool(tmp_path)


def test_a_removed_job_has_not_ended_before_its_processes_have(pool, until, processes_of):
    job = pool.job(IGNORES_TERM)
    status, left = pool.run(job, then=["condor_rm"])

    assert (status.state, status.word, status.reason) == (
        JobState.CANCELLED, "removed", f"via condor_rm (by user {OWNER})",
    )  # fmt: skip
    assert left == []
    until(lambda: not processes_of(job.key), AFTER)


def test_a_job_over_its_time_limit_is_ended_and_has_failed_for_that_reason(pool, until, processes_of):
    job = pool.job(IGNORES_TERM, time_limit=4)
    status, left = pool.run(job)

    assert (status.state, status.word) == (JobState.FAILED, "stopped")
    assert status.reason == "It was over its time limit of 4 seconds."
    assert left == []
    until(lambda: not processes_of(job.key), AFTER)


def test_a_job_that_was_held_after_it_had_started_has_ended_for_that_reason(pool, until, processes_of):
    job = pool.job(SLEEPS)
    status, left = pool.run(job, then=["condor_hold", "-reason", "the disk is full"])

    assert (status.state, status.word) == (JobState.FAILED, "stopped")
    assert status.reason == f"the disk is full (by user {OWNER})"
    assert left == []
    until(lambda: not processes_of(job.key), AFTER)


def test_a_job_that_is_held_before_it_has_started_waits_and_can_be_released(pool):
    status, _ = pool.run(pool.job("exit 3", "hold = true"), then=["condor_release"], when=JobState.PENDING)

    assert (status.state, status.word, status.exit_code) == (JobState.FAILED, "completed", 3)
    assert len(pool.started()) == 1


def test_an_evicted_job_is_not_started_again(pool, until, processes_of):
    job = pool.job(SLEEPS)
    status, left = pool.run(job, then=["condor_vacate_job"])

    assert (status.state, status.word) == (JobState.FAILED, "stopped")
    assert status.reason.startswith("It was evicted from slot1_")
    assert (len(pool.started()), left) == (1, [])
    until(lambda: not processes_of(job.key), AFTER)


TOO_MUCH = "exec /usr/bin/python3 -c 'import time; held = bytearray(300_000_000); time.sleep(300)'"


def test_a_job_that_takes_more_memory_than_it_asked_for_has_failed_for_that_reason(pool, until, processes_of):
    job = pool.job(TOO_MUCH, memory="100MB")
    status, _ = pool.run(job)

    assert (status.state, status.word) == (JobState.FAILED, "stopped")
    assert "memory usage exceeded request_memory" in status.reason
    # the queue forgets where it ran before it has ended there
    until(lambda: not processes_of(job.key), AFTER)


ENDS = {
    "true": (JobState.SUCCEEDED, 0, None),
    "exit 3": (JobState.FAILED, 3, None),
    "kill -9 $$": (JobState.FAILED, None, 9),
}


@pytest.mark.parametrize("leaves", ["leave_in_queue = true", "leave_in_queue = false"])
@pytest.mark.parametrize("script", ENDS)
def test_the_end_of_a_job_is_known_in_the_queue_and_from_the_history(pool, script, leaves):
    status, _ = pool.run(pool.job(script, leaves))

    assert (status.state, status.exit_code, status.signal) == ENDS[script]
    assert status.word == "completed"


def test_an_end_is_known_from_the_log_of_events_which_begins_anew_when_it_is_large(pool, tmp_path):
    seldom = Pool(tmp_path, poll=600)  # once the log is followed, nothing else tells in time
    job = seldom.job("sleep 12; exit 3")
    log = Path(job.values["jobs_dir"], "htcondor-events")
    log.parent.mkdir(parents=True)
    log.write_bytes(b"." * 5_000_000)
    status, _ = seldom.run(job)

    assert (status.state, status.exit_code) == (JobState.FAILED, 3)
    assert log.stat().st_size < 1_000_000


@pytest.fixture(scope="module")
def flow_pool(make_pool):
    """A work pool for the recipe, as its variables are by default."""
    return make_pool("condor", "htcondor")


@pytest.mark.timeout(900)
def test_flow_runs_have_the_memory_that_they_need_and_end_as_they_should(
    flow_pool, backends, start_worker, until, processes_of
):  # fmt: skip
    env = {"PATH": os.environ["PATH"]} | backends("htcondor")
    with start_worker(flow_pool.name, env=env):
        good = [flow_pool.run({"seconds": 20}) for _ in range(2)]  # as long as HTCondor takes to look at their memory
        removed = flow_pool.run({"seconds": 300})
        until(lambda: flow_pool.state(removed) == "Running", 240)
        job = flow_pool.job(removed)
        assert processes_of(job.key)
        subprocess.run(["condor_rm", job.id], env={**os.environ, **env}, check=True, capture_output=True)
        state = flow_pool.ended(removed, 120)

        assert state.name == "Crashed"
        until(lambda: not processes_of(job.key), AFTER)
        assert [flow_pool.ended(run, 240).name for run in good] == ["Completed"] * 2
        assert flow_pool.state(removed) == "Crashed"
