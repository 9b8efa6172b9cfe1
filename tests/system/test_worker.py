"""The worker with the recipe `process` against a real Prefect server: what becomes of flow runs."""

import contextlib
import copy
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import httpx
import pytest

from generic_worker.library.loading import load
from generic_worker.library.template import base_job_template

SECRET = "s3cr3t-of-the-test-8472"


@pytest.fixture(scope="module")
def pool(make_pool, start_worker):
    """A pool of processes that say their names, and a worker for it that has secrets of its own."""
    recipe = copy.deepcopy(load("process").data)
    recipe["script"]["before"] += 'echo "This is job $job_name."\n'
    pool = make_pool("processes", recipe)
    own = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:////tmp/{SECRET}.db", "WORKER_SECRET": SECRET}
    with start_worker(pool.name, env=own):
        yield pool


def test_a_flow_runs_to_its_end(pool, until):
    run = pool.run({"seconds": 0})

    assert pool.ended(run).name == "Completed"
    job = pool.job(run)
    assert job.recipe == "process"
    until(lambda: "cleaned=1" in pool.read(run).infrastructure_pid, 60)


def test_a_job_that_dies_makes_its_run_crashed_with_everything_that_is_known(pool, until):
    run = pool.run(command="sh -c 'echo no disk left >&2; exit 3'")

    state = pool.ended(run)

    assert state.name == "Crashed"
    assert state.message == f"The process job {pool.job(run).id} ended as finished, exit code 3."
    until(lambda: "no disk left" in pool.logs(run), 60)


def test_each_state_of_a_job_is_an_event_that_names_its_run_its_pool_and_its_worker(pool, server, until, tmp_path):
    run = pool.run(command=f"sh -c 'until [ -e {tmp_path}/gate ]; do sleep 0.1; done; exit 3'")
    wanted = {"event": {"prefix": ["prefect.generic-worker.job."]}, "related": {"id": [f"prefect.flow-run.{run}"]}}

    def told(number):
        of_run = {"filter": wanted, "limit": 50}
        answer = httpx.post(f"{server.env['PREFECT_API_URL']}/events/filter", json=of_run, timeout=60)
        found = sorted(answer.raise_for_status().json()["events"], key=lambda event: event["occurred"])
        return found if len(found) == number else None

    until(lambda: told(1), 120)
    (tmp_path / "gate").touch()
    pool.ended(run)
    running, failed = until(lambda: told(2), 60)
    job = pool.job(run)
    roles = {one["prefect.resource.role"]: one["prefect.resource.name"] for one in failed["related"]}

    assert running["event"] == "prefect.generic-worker.job.running"
    assert failed["event"] == "prefect.generic-worker.job.failed"
    assert failed["resource"]["prefect.resource.id"] == f"prefect.generic-worker.job.{job.key}"
    assert failed["resource"]["prefect.generic-worker.job-id"] == job.id
    assert failed["payload"] == {"word": "finished", "reason": "", "exit_code": 3, "signal": None}
    assert roles == {"flow-run": pool.read(run).name, "work-pool": pool.name, "worker": "w"}


def test_a_job_that_is_killed_from_outside_makes_its_run_crashed(pool, kill_processes_of):
    run = pool.run(command="sleep 300")
    job = pool.job(run)
    kill_processes_of(job.key)

    assert pool.ended(run).message == (
        f"The process job {job.id} ended as killed (killed from outside, or the host was restarted)."
    )


def test_a_job_that_ends_well_without_a_word_of_its_flow_makes_its_run_crashed(pool):
    run = pool.run(command="true")

    state = pool.ended(run)

    assert state.name == "Crashed"
    assert state.message.endswith("and the flow run never reported its own end.")


def test_a_run_that_has_not_begun_is_cancelled_at_once(pool, processes_of, until):
    run = pool.run(command="sleep 300")
    job = pool.job(run)
    pool.cancel(run)

    state = pool.ended(run, 40)  # a flow that runs would have a minute to end itself

    assert state.name == "Cancelled"
    until(lambda: processes_of(job.key) == [], 60)


def test_a_running_flow_is_cancelled_by_itself(pool, processes_of, until):
    run = pool.run({"seconds": 300})
    job = pool.job(run)
    until(lambda: pool.state(run) == "Running", 120)
    pool.cancel(run)

    assert pool.ended(run, 120).name == "Cancelled"
    until(lambda: processes_of(job.key) == [], 60)


def test_a_signal_to_all_processes_of_a_job_leaves_no_run_running(pool, until, processes_of):
    run = pool.run({"seconds": 300})
    job = pool.job(run)
    until(lambda: pool.state(run) == "Running", 120)
    for process in processes_of(job.key):
        with contextlib.suppress(ProcessLookupError):  # it has ended with another
            os.kill(process, signal.SIGTERM)

    assert pool.ended(run, 120).name == "Crashed"


def test_a_job_gets_the_settings_that_it_needs_and_nothing_else_of_its_workers(pool, tmp_path):
    run = pool.run(command=f"sh -c 'cat /proc/self/environ > {tmp_path}/env'", env={"MINE": "a\nb 'c' \"d\" $e"})
    pool.ended(run)
    found = dict(entry.split("=", 1) for entry in (tmp_path / "env").read_text().split("\0") if "=" in entry)

    assert found["MINE"] == "a\nb 'c' \"d\" $e"
    assert found["PREFECT__FLOW_RUN_ID"] == str(run)
    assert found["PREFECT_API_URL"] == pool.server.env["PREFECT_API_URL"]
    settings = {name for name in found if name.startswith("PREFECT_")} - {"PREFECT_API_URL"}
    assert {name for name in settings if not name.startswith("PREFECT__")} == set()


def test_a_deployment_cannot_read_the_workers_environment(pool, tmp_path, until):
    placeholder = "x{{ $WORKER_SECRET }}y"
    run = pool.run(command=f"sh -c 'env -0 >{tmp_path}/env; exit 1'", name=placeholder, env={"A": placeholder})
    state = pool.ended(run)
    until(lambda: "This is job xy." in pool.logs(run), 60)

    assert f"A={placeholder}" in (tmp_path / "env").read_text().split("\0")
    assert SECRET not in pool.logs(run) + state.message


def test_no_secret_is_on_a_command_line_while_jobs_are_submitted(pool):
    seen, stop = set(), threading.Event()

    def look():
        while not stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    runs = [pool.run(command="true", env={"API_TOKEN": f"{SECRET}-{number}"}) for number in range(3)]
    for run in runs:
        pool.ended(run)
    stop.set()
    watcher.join()

    assert len(seen) > 10
    assert [line for line in seen if SECRET.encode() in line] == []


HOSTILE = [
    "; touch {0}/x",
    "$(touch {0}/x)",
    "`touch {0}/x`",
    "a'b\"c",
    "line\nbreak",
    "-rf",
    "${{x}} {{{{ y }}}} %s",
    "ü\t€",
]


def test_hostile_values_arrive_intact_and_nowhere_else(pool, tmp_path):
    folders, runs = {}, {}
    for number, template in enumerate(HOSTILE):
        value = template.format(tmp_path)
        home = tmp_path / str(number)
        folders[value] = home / value.replace("/", "_")
        folders[value].mkdir(parents=True)
        command = f"sh -c 'pwd > {home}/where; env -0 > {home}/env'"
        runs[value] = pool.run(command=command, env={"V": value}, working_dir=str(folders[value]))
    for value, run in runs.items():
        pool.ended(run, 180)
        home = folders[value].parent

        assert (home / "where").read_text() == f"{folders[value]}\n"
        assert f"V={value}" in (home / "env").read_text().split("\0")
    assert not (tmp_path / "x").exists()


BROKEN = {
    "an unknown key": ({"sumbit": {}}, "sumbit: Unknown key. Did you mean 'submit'?"),
    "an undefined name": (
        {"logs": {"run": ["tail", "${job_dri}"]}},
        "${job_dri} names nothing. Did you mean 'job_dir'?",
    ),
    "a bad pattern": (
        {"status": {"run": ["x"], "output": {"regex": "(?P<id>"}}},
        "status.output.regex: Not a regular expression",
    ),
    "a missing program": (
        {"submit": {"run": ["no-such-program"], "output": {"regex": "(?P<id>.+)"}}},
        "cannot start 'no-such-program': not found on PATH",
    ),
}


def test_a_broken_recipe_crashes_runs_with_its_own_message_and_the_worker_goes_on(make_pool, start_worker, until):
    good = base_job_template(load("process"))
    pool = make_pool("broken", template=good)

    def message_of_a_run(command):
        return pool.ended(pool.run(command=command)).message

    with start_worker(pool.name):
        for changes, message in BROKEN.values():
            recipe = {**good["job_configuration"]["recipe"], **changes}
            pool.update({**good, "job_configuration": {**good["job_configuration"], "recipe": recipe}})
            until(lambda message=message: message in message_of_a_run("true"), 120)  # a worker learns of it by and by
        pool.update(good)
        until(lambda: message_of_a_run("sh -c 'exit 4'").endswith("exit code 4."), 120)


class Flaky(http.server.BaseHTTPRequestHandler):
    """A proxy in front of the server that fails once for each path that it is told of."""

    target = ""
    code = 500
    failing: list = []  # noqa: RUF012
    failed: list = []  # noqa: RUF012

    def _forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for pattern in list(self.failing):
            if re.search(pattern, f"{self.command} {self.path}"):
                self.failing.remove(pattern)
                self.failed.append(pattern)
                self.send_response(self.code)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        headers = {k: v for k, v in self.headers.items() if k.lower() in {"content-type", "x-prefect-api-version"}}
        request = urllib.request.Request(self.target + self.path, body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                code, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            code, content = error.code, error.read()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _forward  # noqa: N815

    def log_message(self, *_):
        """Say nothing."""


@pytest.mark.parametrize("code", [500, 503])  # Prefect's own client repeats a call for the latter only
def test_one_failure_of_the_api_crashes_no_run(server, make_pool, start_worker, code):
    pool = make_pool(f"flaky-{code}")
    paths = [
        r"GET /api/deployments/",
        r"PATCH /api/flow_runs/[^/]+/labels",
        r"PATCH /api/flow_runs/[0-9a-f-]+$",  # the pid, before the job is submitted
        r"POST /api/flow_runs/[0-9a-f-]+/set_state",
    ]
    Flaky.target, Flaky.code, Flaky.failing, Flaky.failed = f"http://127.0.0.1:{server.port}", code, [*paths], []
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    with start_worker(pool.name, env={"PREFECT_API_URL": f"http://127.0.0.1:{proxy.server_port}/api"}):
        run = pool.run(command="sh -c 'exit 5'")
        state = pool.ended(run, 120)
    proxy.shutdown()

    assert state.message.endswith("exit code 5.")
    assert sorted(Flaky.failed) == sorted(paths)


def test_a_fresh_install_needs_two_commands(server, existing_pool):
    prefect = [sys.executable, "-m", "prefect"]
    subprocess.run([*prefect, "work-pool", "create", "fresh", "--type", "generic"], env=server.env, check=True)
    pool = existing_pool("fresh")
    run = pool.run({"seconds": 0})
    command = [*prefect, "worker", "start", "--type", "generic", "--pool", "fresh"]
    with (server.home / "fresh.log").open("wb") as log:
        worker = subprocess.Popen(command, env=server.env, stdout=log, stderr=log)
    try:
        state = pool.ended(run)
    finally:
        worker.terminate()
        worker.wait(60)

    assert state.name == "Completed"
    assert "Traceback" not in (server.home / "fresh.log").read_text()
