"""A real Prefect server, work pools on it, and workers as processes of their own, for the tests that need them."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from fault_proxy import FaultProxy
from xdist.scheduler import LoadScopeScheduling

FLOW = """
import os, time
from prefect import flow

@flow
def work(seconds: float = 0, dump: str = ""):
    if dump:
        with open(dump, "wb") as file:
            file.write(open("/proc/self/environ", "rb").read())
    time.sleep(seconds)
"""


_SHARED = {
    "the batch systems": ("slurm", "htcondor", "gridengine", "ssh"),
    "the clouds": ("aws", "azure", "gcloud", "google", "kubernetes"),
}


class _Shares(LoadScopeScheduling):
    """With `pytest -n 3`, a file's tests stay together, and so do all that share backends, where there are any."""

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        if "GENERIC_WORKER_TEST_BACKENDS" not in os.environ or not file.startswith(("tests/live/", "tests/security/")):
            return file
        about = Path(file).stem + test
        return next((shared for shared, names in _SHARED.items() if any(name in about for name in names)), "this host")


def pytest_xdist_make_scheduler(config, log):
    """Say how tests that run at the same time are shared out: in the order of the files, not of their sizes."""
    config.option.loadscopereorder = False
    return _Shares(config, log)


_FIRST = (
    "tests/live/",
    "tests/system/test_sent_flows.py",
    "tests/system/test_worker.py",
    "tests/system/test_silent_scheduler.py",
    "tests/system/test_api_outage.py",
    "tests/security/",
    "tests/system/",
)


def pytest_collection_modifyitems(config, items):
    """Of tests that run at the same time, those that take longest come first: then all processes end together."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: next((n for n, first in enumerate(_FIRST) if item.nodeid.startswith(first)), 9))


_given_ports: set[int] = set()


def _free_port():
    """None that the kernel gives to whoever asks for any port or connects: it might, before it is used here.

    Nor one of the backends', which are above 20,000. Each of the processes of `pytest -n` has ports of its own.
    """
    number, processes = (os.environ.get(f"PYTEST_XDIST_WORKER{more}", "") for more in ("", "_COUNT"))
    mine = set(range(10_000 + int(number[2:] or 0), 20_000, int(processes or 1))) - _given_ports
    for port in random.sample(sorted(mine), len(mine)):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            _given_ports.add(port)
            return port
    raise AssertionError("no port of 127.0.0.1 between 10,000 and 20,000 is free")


@pytest.fixture(name="free_port", scope="session")
def free_port_fixture():
    """A port of the loopback interface that nobody listens on: free_port()."""
    return _free_port


@dataclass
class Server:
    """A running Prefect server.

    Attributes:
        env: What a process needs in its environment to use it, and to leave everything else alone.
        home: Where the server, its clients and their jobs keep everything.
        call: Has a client of this process ask it for something; see `_one_client`.
    """

    env: dict
    home: Path
    port: int
    process: subprocess.Popen = field(default=None)
    call: Callable = field(default=None)

    def start(self):
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        log = (self.home / "server.log").open("ab")
        self.process = subprocess.Popen(
            command, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self.until_up()

    def until_up(self):
        until(lambda: urllib.request.urlopen(f"{self.env['PREFECT_API_URL']}/health", timeout=2), 240)

    def stop(self, number=signal.SIGTERM):
        os.killpg(self.process.pid, number)
        self.process.wait()


def until(condition, seconds, every=0.2):
    """Wait until a condition holds, or is not raised any more; returns what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        error = None
        try:
            if found := condition():
                return found
        except (OSError, AssertionError) as caught:
            error = caught
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition}") from error
        time.sleep(every)


@pytest.fixture(name="until", scope="session")
def until_fixture():
    """Wait until a condition holds: until(condition, seconds)."""
    return until


def processes_of(key):
    """The processes of a job, by the mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"GENERIC_WORKER_JOB={key}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.fixture(name="processes_of", scope="session")
def processes_of_fixture():
    """Find the processes of a job of the recipe `process`: processes_of(key)."""
    return processes_of


@pytest.fixture(scope="session")
def jobs_command():
    """The words of `generic-worker jobs` where it waits for the API for longer than 3 s: jobs_command(seconds)."""

    def words(seconds=60):
        code = f"from generic_worker.cli import job_listing, main; job_listing._PATIENCE = {seconds}; main.main()"
        return [sys.executable, "-c", code, "jobs"]

    return words


@pytest.fixture(scope="session")
def kill_processes_of():
    """Kill all processes of a job, and let none of them see another die first: kill_processes_of(key)."""

    def kill(key):
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in processes_of(key):
                with contextlib.suppress(ProcessLookupError):  # it has ended by itself meanwhile
                    os.kill(process, number)

    return kill


def multiply(home, run, number, more=lambda _own, _index: {}):
    """Copy a flow run, with all its states, in the server's own database: asking it for hundreds would take minutes.

    `more(id, index)` is what else is to be different about each copy. Returns the copies' ids.
    """
    found = []
    with sqlite3.connect(home / "prefect.db", timeout=60) as database:
        (last,) = database.execute("SELECT state_id FROM flow_run WHERE id = ?", (str(run),)).fetchone()
        of_run = database.execute("SELECT id FROM flow_run_state WHERE flow_run_id = ?", (str(run),))
        states = [state for (state,) in of_run]
        for index in range(number):
            own, copies = uuid4(), {state: str(uuid4()) for state in states}
            new = {"id": str(own), "state_id": copies[last], "name": f"run-{own.hex[:8]}", **more(own, index)}
            _copy(database, "flow_run", run, **new)
            for state, copy in copies.items():
                _copy(database, "flow_run_state", state, id=copy, flow_run_id=str(own))
            found.append(own)
    return found


def _copy(database, table, which, **new):
    names = {row[1] for row in database.execute(f"PRAGMA table_info({table})")} - {"idempotency_key"}
    picked = ", ".join(f":{name}" if name in new else name for name in names)
    text = f"INSERT INTO {table} ({', '.join(names)}) SELECT {picked} FROM {table} WHERE id = '{which}'"
    database.execute(text, new)


@pytest.fixture(name="multiply", scope="session")
def multiply_fixture(server):
    """Copy a flow run: multiply(run, number, more)."""
    return lambda *arguments: multiply(server.home, *arguments)


@pytest.fixture(scope="session")
def monkeypatch_session():
    """A monkeypatch for the whole session."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """A worker takes SIGTERM for SIGINT, and inherits that this is ignored if a shell started us in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _python(tmp_path_factory, monkeypatch_session):
    """The programs of tests/fakes have this Python: the `python3` of pyenv takes longer to find one than they run."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    monkeypatch_session.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.fixture(scope="session")
def server(tmp_path_factory, monkeypatch_session):
    """A Prefect server of the tests' own; this process's own client uses it too.

    Each process of `pytest -n` has one: SQLite's lock is in the way of tests when all processes write to the same.
    """
    home = tmp_path_factory.mktemp("prefect")
    port = _free_port()
    for name in [name for name in os.environ if name.lower() in {"http_proxy", "https_proxy", "all_proxy"}]:
        monkeypatch_session.delenv(name)  # no proxy leads to this host's loopback
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    own = {
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "30",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
        "XDG_STATE_HOME": str(home / "state"),
    }
    found = Server({**kept, **own}, home, port)
    found.start()
    from prefect.settings import (  # noqa: PLC0415 - it is slow to load
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        PREFECT_HOME,
        temporary_settings,
    )

    # SQLite is locked for long on a busy machine: the server answers 503 then
    settings = {PREFECT_API_URL: own["PREFECT_API_URL"], PREFECT_HOME: str(home), PREFECT_CLIENT_MAX_RETRIES: 20}
    with temporary_settings(settings), _one_client() as found.call:
        yield found
    found.stop()


@contextlib.contextmanager
def _one_client():
    """Ask the server for something: call(lambda client: client.hello()). All calls have one client, in a thread.

    A client of each call's own would read all certification authorities each time, for ten times the processor time.
    """
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - it comes with Prefect
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - it is slow to load

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(portal.call(get_client)) as client:
        yield lambda work: portal.call(work, client)


@pytest.fixture
def api_proxy(server):
    """A fault proxy in front of the server, for the `PREFECT_API_URL` of a worker; nothing fails until told to."""
    with FaultProxy(server.port) as proxy:
        yield proxy


class Pool:
    """A work pool with one deployment; its methods make flow runs and wait for what becomes of them."""

    def __init__(self, server, name, template=None, limit=None):
        self.server, self.name, self._template, self._limit, self._deployment = server, name, template, limit, None
        self._call = server.call

    def create(self, kind="generic"):
        """Make the pool and its deployment."""
        from prefect.client.schemas.actions import WorkPoolCreate  # noqa: PLC0415 - it is slow to load

        pool = WorkPoolCreate(name=self.name, type=kind, base_job_template=self._template)
        self._call(lambda client: client.create_work_pool(pool))
        return self.deploy()

    def deploy(self, job_variables=None):
        """Make the deployment in a pool that is there, or change its job variables."""
        flows = self.server.home / "flows"
        flows.mkdir(exist_ok=True)
        (flows / "work.py").write_text(FLOW)

        async def create(client):
            flow_id = await client.create_flow_from_name("work")
            self._deployment = await client.create_deployment(
                flow_id,
                self.name,
                work_pool_name=self.name,
                path=str(flows),
                entrypoint="work.py:work",
                concurrency_limit=self._limit,
                job_variables=job_variables,
            )

        self._call(create)
        return self

    def undeploy(self):
        """Delete the deployment."""
        self._call(lambda client: client.delete_deployment(self._deployment))

    def update(self, template):
        """Change the pool's base job template."""
        from prefect.client.schemas.actions import WorkPoolUpdate  # noqa: PLC0415 - it is slow to load

        self._call(lambda client: client.update_work_pool(self.name, WorkPoolUpdate(base_job_template=template)))

    def store_in(self, directory):
        """Let flows be sent to the pool without a deployment, through a directory."""
        from prefect.client.schemas.actions import WorkPoolUpdate  # noqa: PLC0415 - it is slow to load

        from generic_worker.worker.storage import shared_directory  # noqa: PLC0415 - as above

        async def update(client):
            storage = await shared_directory(client, self.name, str(directory))
            await client.update_work_pool(self.name, WorkPoolUpdate(storage_configuration=storage))

        self._call(update)
        return self

    def runs(self):
        """All flow runs of the pool."""
        from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName  # noqa: PLC0415 - as above

        wanted = WorkPoolFilter(name=WorkPoolFilterName(any_=[self.name]))
        return self._call(lambda client: client.read_flow_runs(work_pool_filter=wanted))

    def workers(self):
        """The names of the pool's workers, as Prefect's UI lists them."""
        return [worker.name for worker in self._call(lambda client: client.read_workers_for_work_pool(self.name))]

    def read_pool(self):
        """The pool as the server has it."""
        return self._call(lambda client: client.read_work_pool(self.name))

    def run(self, parameters=None, **variables):
        """Make a flow run; returns its id. A `command` among the variables takes the place of the flow itself."""
        made = self._call(
            lambda client: client.create_flow_run_from_deployment(
                self._deployment, parameters=parameters or {}, job_variables=variables
            )
        )
        return made.id

    def read(self, flow_run_id):
        """A flow run as the server has it."""
        return self._call(lambda client: client.read_flow_run(flow_run_id))

    def update_run(self, flow_run_id, **changes):
        """Change what else the server has of a flow run."""
        self._call(lambda client: client.update_flow_run(flow_run_id, **changes))

    def state(self, flow_run_id):
        """The name of a flow run's state."""
        return self.read(flow_run_id).state.name

    def history(self, flow_run_id):
        """The states that a flow run has been in, the first one first."""
        states = self._call(lambda client: client.read_flow_run_states(flow_run_id))
        return sorted(states, key=lambda state: state.timestamp)

    def cancel(self, flow_run_id):
        """Ask for a flow run to be cancelled, as the UI does."""
        from prefect.states import Cancelling  # noqa: PLC0415 - it is slow to load

        self.set_state(flow_run_id, Cancelling())

    def set_state(self, flow_run_id, state):
        """Give a flow run another state."""
        self._call(lambda client: client.set_flow_run_state(flow_run_id, state))

    def lease(self, flow_run_id):
        """The id of a flow run's lease of a concurrency slot of its deployment."""
        return self.read(flow_run_id).state.state_details.deployment_concurrency_lease_id

    def lose_slot(self, flow_run_id):
        """Let a flow run lose its concurrency slot, as Prefect takes it away when the lease has run out."""
        lease = self.lease(flow_run_id)
        self._call(lambda client: client.release_concurrency_slots_with_lease(lease))

    def label(self, flow_run_id, worker):
        """Say which worker has a flow run."""
        label = {"prefect.worker.name": worker}
        self._call(lambda client: client.update_flow_run_labels(flow_run_id, label))

    def heartbeat(self, worker, interval):
        """Let a worker be online for three times so many seconds, whether it is there or not."""
        self._call(lambda client: client.send_worker_heartbeat(self.name, worker, interval))

    def delete(self, flow_run_id):
        """Delete a flow run."""
        self._call(lambda client: client.delete_flow_run(flow_run_id))

    def job(self, flow_run_id, seconds=120):
        """The reference of a flow run's job, once it was submitted."""
        from generic_worker.job import JobReference  # noqa: PLC0415 - as above

        def submitted():
            reference = JobReference.parse(self.read(flow_run_id).infrastructure_pid or "")
            return reference if reference and reference.id else None

        return until(submitted, seconds)

    def ended(self, flow_run_id, seconds=180):
        """The state in which a flow run has ended."""

        def final():
            state = self.read(flow_run_id).state
            return state if state.is_final() else None

        return until(final, seconds)

    def logs(self, flow_run_id):
        """All that a flow run's log says so far."""
        from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId  # noqa: PLC0415 - as above

        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
        return "\n".join(log.message for log in self._call(lambda client: client.read_logs(wanted)))


@pytest.fixture(scope="session")
def make_pool(server):
    """Make a work pool: make_pool(name, recipe), with a recipe's name or mapping, or make_pool(name, template=...).

    `limit` is how many runs of its deployment may be active at once.
    """
    from generic_worker.library.loading import load  # noqa: PLC0415 - after the server's settings
    from generic_worker.library.template import base_job_template  # noqa: PLC0415 - as above

    def make(name, recipe="process", template=None, limit=None, kind="generic"):
        return Pool(server, name, template or base_job_template(load(recipe)), limit).create(kind)

    return make


@pytest.fixture(scope="session")
def existing_pool(server):
    """A pool that is there already, with a deployment in it: existing_pool(name)."""
    return lambda name: Pool(server, name).deploy()


@pytest.fixture
def start_sending(server, tmp_path):
    """Start a script that sends flows, in a folder with files: start_sending(pool, way, env={}, **variables)."""
    place = tmp_path / "project"
    (place / "tools").mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "scripts" / "send.py", place)
    (place / "greeting.txt").write_text("hello\n")
    (place / "tools" / "shout.sh").write_text("#!/bin/sh\necho HELLO\n")
    (place / "tools" / "shout.sh").chmod(0o755)

    def start(pool, way, env=None, **variables):
        return subprocess.Popen(
            [sys.executable, place / "send.py", pool.name, way, json.dumps(variables)],
            env={**server.env, **(env or {})},
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


@pytest.fixture
def send(start_sending):
    """Run such a script to its end: send(pool, way, env={}, **variables) returns what came back."""

    def run(*arguments, **options):
        process = start_sending(*arguments, **options)
        out, err = process.communicate(timeout=200)

        assert process.returncode == 0, err
        return json.loads(out)

    return run


@pytest.fixture(scope="session")
def start_worker(server):
    """Start a worker as a process: start_worker(pool, name="w", env={}, options=()); it is ended with the context."""

    @contextlib.contextmanager
    def start(pool, name="w", env=None, options=()):
        command = [
            sys.executable,
            "-m",
            "prefect",
            "worker",
            "start",
            "--type",
            "generic",
            "--pool",
            pool,
            "--name",
            name,
        ]
        log = server.home / f"worker-{pool}-{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*command, *options],
                env={**server.env, **(env or {})},
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        process.log = log
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)  # it may have been stopped
                process.terminate()
                process.wait(90)

    return start
