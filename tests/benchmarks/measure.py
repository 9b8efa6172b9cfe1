"""What the benchmarks share: processor time and memory of a process, a Prefect server, and workers on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from uuid import UUID

from copies import copies
from figures import show

HERE = Path(__file__).parent
sys.path += [str(HERE.parent), str(HERE.parent / "support")]
from conftest import Server, multiply, until  # noqa: E402 - the tests' own

UNUSED = ("EVENT_PERSISTER", "FOREMAN", "LATE_RUNS", "SCHEDULER", "TASK_RUN_RECORDER", "TRIGGERS")
"""Services of the server that nothing here needs."""
TICKS = os.sysconf("SC_CLK_TCK")
SUBMITTING_RE = re.compile(r"^(\S+) .*submitting flow run '([0-9a-f-]{36})'")
SUBMITTED_RE = re.compile(r"^(\S+) .*Flow run '([^']+)' submitted to infrastructure")
SUBMITTED_AS_RE = re.compile(r"^(\S+) .*Submitted as \S+ job .*?pf-([0-9a-f]{32})")


def main(measure) -> None:
    """Run one benchmark: print its table, or with `--json FILE` write its figures there too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and workers are ended
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # by a shell that has us in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker takes SIGTERM for SIGINT
    figures = measure()
    if "--json" in sys.argv:
        Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps([asdict(one) for one in figures], indent=1))
    print(show(figures))


def cpu(pid: int | str = "self") -> tuple[float, float]:
    """Processor seconds of a process, and of its children that have ended."""
    numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, child_user, child_system = (int(number) / TICKS for number in numbers[11:15])
    return user + system, child_user + child_system


def memory(pid: int | str = "self") -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def median(numbers) -> float:
    return statistics.median(numbers)


def percentile(numbers, share: float) -> float:
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def stalls(gaps: list[float]) -> None:
    """Write down how much later than asked for the event loop comes back, for as long as it lasts."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.002)
        gaps.append(time.monotonic() - before - 0.002)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def clean_environment(home: Path, port: int) -> dict[str, str]:
    """An environment for a Prefect of its own; it is this process's own from then on."""
    for name in [name for name in os.environ if name.startswith("PREFECT_") or name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ.update({
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_CLIENT_MAX_RETRIES": "20",  # one server with SQLite is busy now and then
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in UNUSED},
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
        "XDG_STATE_HOME": str(home / "state"),
        "NO_COLOR": "1",
        "COLUMNS": "400",
    })  # fmt: skip
    return dict(os.environ)


@contextlib.contextmanager
def prefect_server(*, sqlite: bool = False):
    """A Prefect server of the benchmark's own. Call it before anything imports Prefect.

    With PostgreSQL where that is installed: with SQLite the workers mostly wait for a lock.
    """
    port = free_port()
    with contextlib.ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="generic-worker-benchmark-", ignore_cleanup_errors=True)
        home = Path(stack.enter_context(temporary))
        environment = clean_environment(home, port)
        if not sqlite and (programs := sorted(Path("/usr/lib/postgresql").glob("*/bin"))):
            environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = stack.enter_context(postgresql(programs[-1]))
        server = Server(environment, home, port)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def postgresql(programs: Path):
    """A PostgreSQL of the benchmark's own; gives the URL of its database."""
    user, port = ("postgres" if os.geteuid() == 0 else None), free_port()
    with tempfile.TemporaryDirectory(prefix="generic-worker-database-") as folder:
        if user:
            shutil.chown(folder, user, user)
        kept, quiet = f"{folder}/data", {"cwd": "/", "user": user, "stdout": subprocess.DEVNULL}
        words = [programs / "initdb", f"--pgdata={kept}", "--auth=trust", "--username=postgres", "--no-sync"]
        subprocess.run([*words, "--encoding=UTF8", "--locale=C"], check=True, **quiet)
        words = [programs / "postgres", "-D", kept, "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-F"]
        running = subprocess.Popen(words, stderr=subprocess.DEVNULL, **quiet)
        try:
            yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}/postgres"
        finally:
            running.send_signal(signal.SIGINT)  # which does not wait for its clients
            running.wait()


class Deployment:
    """A work pool with a deployment in it.

    Args:
        server: The Prefect server.
        name: The pool's name.
        kind: The worker type.
        template: The pool's base job template.
    """

    def __init__(self, server, name: str, kind: str, template: dict | None = None) -> None:
        from prefect.client.schemas.actions import WorkPoolCreate  # noqa: PLC0415 - after the server's settings

        self.name, self.server = name, server
        pool = WorkPoolCreate(name=name, type=kind, base_job_template=template or {})

        async def create(client):
            await client.create_work_pool(pool)
            flow_id = await client.create_flow_from_name("work")
            return await client.create_deployment(flow_id, name, work_pool_name=name, path="/", entrypoint="x.py:work")

        self._id = self.call(create)

    def call(self, work):
        """What a coroutine function returns that is given a client."""
        from prefect.client.orchestration import get_client  # noqa: PLC0415 - after the server's settings

        async def call():
            async with get_client() as client:
                return await work(client)

        return asyncio.run(call())

    def runs(self, number: int, variables=lambda _: {}) -> dict[str, str]:
        """Make flow runs; returns their names by their ids."""

        async def create(client):
            gate = asyncio.Semaphore(2)

            async def one(index):
                async with gate:
                    return await client.create_flow_run_from_deployment(self._id, job_variables=variables(index))

            return await asyncio.gather(*(one(index) for index in range(number)))

        return {str(run.id): run.name for run in self.call(create)}

    def many(self, number: int) -> dict[str, str]:
        """Make flow runs, as `runs` does, by copying one in PostgreSQL: the server needs minutes for thousands."""
        ((first, name),) = self.runs(1).items()
        url = self.server.env["PREFECT_SERVER_DATABASE_CONNECTION_URL"].replace("+asyncpg", "")
        return {first: name, **asyncio.run(copies(url, first, number - 1))}

    def running(self, number: int) -> None:
        """Make flow runs that are Running."""
        from prefect.states import Running  # noqa: PLC0415 - after the server's settings

        self._many(number, Running())

    def pending(self, number: int) -> None:
        """Make flow runs that are Pending."""
        from prefect.states import Pending  # noqa: PLC0415 - as above

        self._many(number, Pending())

    def _many(self, number: int, state) -> None:
        (first,) = self.runs(1)
        self.call(lambda client: client.set_flow_run_state(first, state, force=True))
        multiply(self.server.home, first, number - 1)

    def read(self, ids) -> list:
        """Flow runs as the server has them."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId  # noqa: PLC0415 - as above

        ids = list(ids)
        pages = [ids[at : at + 200] for at in range(0, len(ids), 200)]

        async def read(client):
            filters = (FlowRunFilter(id=FlowRunFilterId(any_=page)) for page in pages)
            return [run for one in filters for run in await client.read_flow_runs(flow_run_filter=one)]

        return self.call(read)


class Worker:
    """A worker as a process of its own.

    Args:
        server: The Prefect server.
        pool: The pool's name.
        kind: Which of the workers in `workers.py` of this folder.
        words: What it is told besides.
        python: One that has a worker type of this name installed, for one that Prefect's own command starts.
        env: Environment variables for it.
    """

    def __init__(self, server, pool: str, kind: str, *words: str, python: str = "", env: dict | None = None) -> None:
        self.log = server.home / f"{pool}.log"
        self._command = [sys.executable, HERE / "workers.py", kind, pool, *words]
        if python:
            self._command = [python, "-m", "prefect", "worker", "start", "--type", kind, "--pool", pool, "--name", pool]
        self._server, self._env = server, {**server.env, **(env or {})}
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self._server.home,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def started(self) -> bool:
        return "started!" in self.log.read_text(errors="replace")

    def submissions(self, names: dict[str, str]) -> list[float]:
        """Seconds from polled to submitted, of those runs whose submission is over."""
        times = {name: {} for name in names.values()}
        for line in self.log.read_text(errors="replace").splitlines():
            if match := SUBMITTING_RE.match(line):
                times.get(names.get(match[2]), {})["begin"] = clock(match[1])
            elif match := SUBMITTED_RE.match(line):
                times.get(match[2], {})["end"] = clock(match[1])
            elif match := SUBMITTED_AS_RE.match(line):  # of this worker, where the job's id is its key
                times.get(names.get(str(UUID(match[2]))), {})["end"] = clock(match[1])
        return [one["end"] - one["begin"] for one in times.values() if len(one) == 2]


def clock(text: str) -> float:
    return (datetime.strptime(text, "%H:%M:%S.%f") - datetime(1900, 1, 1)).total_seconds()  # noqa: DTZ001, DTZ007


@contextlib.contextmanager
def workers(*all_of_them: Worker):
    """Wait until workers run; end them with the context."""
    try:
        for worker in all_of_them:
            until(worker.started, 90)
        yield
    finally:
        for worker in all_of_them:
            worker.stop()
