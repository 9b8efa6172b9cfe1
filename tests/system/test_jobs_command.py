"""`generic-worker jobs` beside a real worker: what it shows, and that it changes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fault_proxy import Fault

FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture
def site(tmp_path):
    """The environment of tests/fakes/faulty, whose state and faults are in a folder of the test."""
    return {"FAULTY_DIR": str(tmp_path), "PATH": f"{FAKES}:{os.environ['PATH']}"}


@pytest.fixture
def jobs(server, site, jobs_command):
    def call(*words, patience=60, **changes):
        command = [*jobs_command(patience), *words]
        env = {**server.env, **site, **changes}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=200)

    return call


def test_active_runs_are_listed_with_what_the_infrastructure_says(make_pool, start_worker, until, site, jobs, tmp_path):
    pool = make_pool("listed", yaml.safe_load((FAKES / "faulty.yaml").read_text()))
    with start_worker(pool.name, env=site):
        waiting, running = pool.run(wait=3600), pool.run(command="sleep 600")
        until(lambda: f"job {pool.job(running).id} is ACTIVE" in pool.logs(running), 120)
        until(lambda: "is WAITING" in pool.logs(waiting), 60)
        calls = (tmp_path / "calls").read_text()
        before = [pool.read(run).updated for run in (waiting, running)]

        answer = jobs("--pool", pool.name, "--json")
        rows = {row["flow_run_id"]: row for row in json.loads(answer.stdout)["rows"]}
        text = jobs("--pool", pool.name)
        (tmp_path / "faults").write_text("list.down=1")
        silent = jobs("--pool", pool.name, "--json")
        (tmp_path / "faults").write_text("")

        assert answer.returncode == text.returncode == 0, answer.stderr
        assert {run: rows[str(run)]["state"] for run in (waiting, running)} == {waiting: "WAITING", running: "ACTIVE"}
        assert {rows[str(run)]["job"] for run in (waiting, running)} == {pool.job(waiting).id, pool.job(running).id}
        assert all(row["answered"] and row["since"] for row in rows.values())
        assert "ACTIVE" in text.stdout
        assert pool.read(running).name in text.stdout
        assert silent.returncode == 1
        report = json.loads(silent.stdout)
        assert {row["state"] for row in report["rows"]} == {"unknown"}
        assert "scheduler unreachable" in report["troubles"][0]
        assert before == [pool.read(run).updated for run in (waiting, running)]
        made = (tmp_path / "calls").read_text().removeprefix(calls)
        assert {line.split()[1] for line in made.splitlines()} == {"list"}
        for run in (waiting, running):
            pool.cancel(run)
        assert {pool.ended(run).name for run in (waiting, running)} == {"Cancelled"}


def test_what_cannot_be_listed_is_said_without_a_traceback(jobs):
    missing = jobs("--pool", "no-such-pool")
    unreachable = jobs("--pool", "any", PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0")

    assert (missing.returncode, unreachable.returncode) == (2, 2)
    assert missing.stderr.startswith("There is no work pool 'no-such-pool' at http://127.0.0.1:")
    assert unreachable.stderr.startswith("The Prefect API at http://127.0.0.1:9/api cannot be reached")


def test_an_api_that_is_slow_to_answer_is_not_waited_for(jobs, api_proxy, make_pool):
    pool = make_pool("slow-api")
    api_proxy.add(Fault(delay=3600))
    silent = jobs("--pool", pool.name, patience=3, PREFECT_API_URL=api_proxy.url)

    assert silent.returncode == 2
    assert silent.stderr == f"The Prefect API at {api_proxy.url} does not answer within 3 s.\n"


def test_watching_goes_on_through_an_outage_of_the_api(server, make_pool, api_proxy, until, tmp_path):
    pool = make_pool("watched-outage")
    code = "from generic_worker.cli import job_listing, main; job_listing._EVERY = 0.2; main.main()"
    words = [sys.executable, "-c", code, "jobs", "--pool", pool.name, "--watch"]
    env = {**server.env, "PREFECT_API_URL": api_proxy.url, "COLUMNS": "200", "FORCE_COLOR": "1"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        watching = subprocess.Popen(words, env=env, stdout=output, stderr=output)
    try:
        until(lambda: "0 active flow runs" in log.read_text(), 60)
        api_proxy.cut_off()
        until(lambda: "As it was at" in log.read_text(), 60)
        api_proxy.mend()
        seen = len(log.read_text())
        until(lambda: "0 active flow runs" in log.read_text()[seen:], 60)
        assert watching.poll() is None
    finally:
        watching.terminate()
        watching.wait(60)
