"""Flow runs on a real Slurm, through a real Prefect server and a worker process."""

import os
import re
import shutil
import stat
import subprocess
import sys
import time

import pytest

SECRET = "s3cr3t-of-the-cluster-5520"


@pytest.fixture(scope="module", params=["slurm", "slurm-24.11"])
def slurm(request, backends):
    """A running Slurm: the environment variables that its commands need, of each version that there is."""
    return {"PATH": os.environ["PATH"]} | backends(request.param)


@pytest.fixture(scope="module")
def commands(slurm, tmp_path_factory):
    """An environment for Slurm's commands in which every call of squeue is counted; and the file with the counts."""
    folder = tmp_path_factory.mktemp("bin")
    calls = folder / "calls"
    calls.touch()
    squeue = shutil.which("squeue", path=slurm["PATH"])
    wrapper = folder / "squeue"
    wrapper.write_text(f'#!/bin/sh\necho "$(date +%s.%N) $*" >>{calls}\nexec {squeue} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return {**slurm, "PATH": f"{folder}:{slurm['PATH']}"}, calls


@pytest.fixture(scope="module")
def pool(make_pool):
    """A pool for the recipe `slurm`."""
    return make_pool("cluster", "slurm")


def in_flight(env, runs):
    """How many jobs of some flow runs have not ended; there may be others'."""
    shown = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%k"], env=env, capture_output=True, text=True, check=True
    )
    return sum(any(run.hex in key for run in runs) for key in shown.stdout.split())


@pytest.mark.timeout(900)
def test_twenty_runs_end_right_with_one_squeue_a_poll_and_five_in_flight(
    pool, slurm, commands, start_worker, tmp_path, until
):
    env, calls = commands
    runs = [pool.run({"seconds": 0}, working_dir=str(tmp_path)) for _ in range(6)]
    runs += [pool.run(command="sh -c 'sleep 3; exit 3'", working_dir=str(tmp_path)) for _ in range(14)]
    tools = {**os.environ, **slurm}
    most = 0
    with start_worker(pool.name, env=env, options=["--limit", "5"]):
        deadline = time.monotonic() + 600
        states = {}
        while len(states) < len(runs) and time.monotonic() < deadline:
            most = max(most, in_flight(tools, runs))
            states |= {
                run: found.state for run in runs if run not in states and (found := pool.read(run)).state.is_final()
            }
            time.sleep(0.5)
    times = [float(line.split()[0]) for line in calls.read_text().splitlines()]
    seconds = max(times) - min(times)

    assert [states[run].name for run in runs] == ["Completed"] * 6 + ["Crashed"] * 14
    for run in runs[6:]:
        job = pool.job(run)
        assert states[run].message == f"The slurm job {job.id} ended as FAILED (NonZeroExitCode), exit code 3."
    assert 0 < most <= 5
    # a poll is due every second at the soonest, whatever the number of jobs; one per job would be five times as many
    assert len(times) <= seconds + 5
    assert {line.split(" ", 1)[1] for line in calls.read_text().splitlines()} == {
        f"--user={os.getuid()} --noheader --states=all --format=%i|%T|%k|%r"
    }


def test_what_happens_to_jobs_on_the_cluster_is_told(pool, commands, start_worker, tmp_path, until):
    env, _ = commands
    tools = {**os.environ, **env}
    long = {"command": "sleep 300", "working_dir": str(tmp_path)}
    with start_worker(pool.name, env=env) as worker:
        waiting = pool.run(**long)
        queued = pool.run(**long, sbatch_options=["--begin=now+1hour"])
        running = pool.run({"seconds": 300}, working_dir=str(tmp_path))
        broken = pool.run(command=f"{sys.executable} -c 'import no_such_module'", working_dir=str(tmp_path))
        assert pool.ended(broken).message.endswith("exit code 1.")
        until(lambda: "ModuleNotFoundError: No module named 'no_such_module'" in pool.logs(broken), 60)
        subprocess.run(["scancel", pool.job(waiting).id], env=tools, check=True)
        state = pool.ended(waiting)
        assert state.name == "Crashed"
        assert re.fullmatch(r"The slurm job \d+ was cancelled outside Prefect: CANCELLED.*", state.message)

        until(lambda: f"slurm job {pool.job(queued).id} is PENDING (BeginTime)" in worker.log.read_text(), 60)
        pool.cancel(queued)
        assert pool.ended(queued, 55).name == "Cancelled"  # a flow that runs would have a minute to end itself

        until(lambda: pool.state(running) == "Running", 120)
        subprocess.run(["scancel", pool.job(running).id], env=tools, check=True)
        state = pool.ended(running, 120)
        assert state.name == "Crashed"


def test_values_arrive_intact_and_no_secret_is_on_a_command_line(pool, commands, start_worker, tmp_path):
    env, _ = commands
    value = f"; touch {tmp_path}/x $(touch {tmp_path}/x) 'a' \"b\"\nline -rf"
    seen = set()
    with start_worker(pool.name, env=env):
        run = pool.run(
            command=f"sh -c 'env -0 > {tmp_path}/env'",
            env={"V": value, "API_TOKEN": SECRET},
            working_dir=str(tmp_path),
            name="-n $(id) 'x'",
        )
        deadline = time.monotonic() + 180
        while not pool.read(run).state.is_final() and time.monotonic() < deadline:
            shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
            seen |= {line for line in shown.splitlines() if SECRET in line}
    found = (tmp_path / "env").read_text().split("\0")

    assert f"V={value}" in found
    assert f"API_TOKEN={SECRET}" in found
    assert not (tmp_path / "x").exists()
    assert seen == set()
