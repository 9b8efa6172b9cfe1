"""`generic-worker demo`: a Prefect server, a work pool, a worker and three flow runs, in a home of their own.

Everything it starts carries the mark of that home in its environment, and is ended with it: nothing is left behind,
whenever and however the demo is interrupted. Prefect is loaded only once its settings point there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from generic_worker.services import Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SERVER_PATIENCE = 90.0
"""Seconds that the server has to answer for the first time."""


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def main() -> int:
    """Run the demo; returns 0 only if all three flow runs ended as they should."""
    console = Console()
    home = Path(tempfile.mkdtemp(prefix="generic-worker-demo-")).resolve()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    started, services = time.monotonic(), list[Service]()
    try:
        good = asyncio.run(_demo(console, home, services))
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 130
    except DemoError as error:
        console.print(f"[red]{error}[/red]")
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # nothing interrupts this
        _end_everything(home, services)
    verdict = "All three ended as they should" if good else "Not all ended as they should"
    console.print(f"{verdict}, after {time.monotonic() - started:.0f} s.", highlight=False)
    return 0 if good else 1


async def _demo(console: Console, home: Path, services: list[Service]) -> bool:
    port = _free_port()
    environment = _environment(home, port)
    os.environ.update(environment)
    prefect = [sys.executable, "-m", "prefect"]
    console.print(f"Starting a Prefect server on port {port}, with a temporary home.")
    server = Service([*prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)], home / "server.log")
    services.append(server)
    runs_module = import_module("generic_worker.demo_runs")  # it takes a while, and the server needs one too
    await _until_up(server, f"http://127.0.0.1:{port}/api/health", home / "server.log")
    console.print("Creating a work pool from the recipe 'process', a deployment and three flow runs.")
    flows = home / "flows"
    flows.mkdir()
    shutil.copy(Path(__file__).with_name("demo_flow.py"), flows)
    table = runs_module.rows()
    runs = await runs_module.prepare(flows, {name: environment[name] for name in _FOR_FLOW_RUNS}, table)
    console.print("Starting a worker: prefect worker start --type generic --pool demo")
    command = [*prefect, "worker", "start", "--type", "generic", "--pool", runs_module.POOL, "--name", "demo"]
    worker = Service(command, home / "worker.log")
    services.append(worker)
    with _display(console, table) as show:
        await runs_module.follow(runs, show, lambda: server.alive and worker.alive)
    for service, name in ((server, "server"), (worker, "worker")):
        if not service.alive:
            raise DemoError(f"The {name} ended by itself. Its last lines:\n{_last_lines(home / f'{name}.log')}")
    if not console.is_terminal:
        console.print(_table(table))
    return all(row.good for row in table)


_FOR_FLOW_RUNS = ("PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_SERVER_ANALYTICS_ENABLED", "DO_NOT_TRACK")


def _environment(home: Path, port: int) -> dict[str, str]:
    """Settings that keep the demo in its home, and the user's own out of it."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    (home / "tmp").mkdir()
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_PROFILES_PATH": str(home / "prefect" / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "TMPDIR": str(home / "tmp"),
        "XDG_STATE_HOME": str(home / "state"),
    }


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def _until_up(server: Service, url: str, log: Path) -> None:
    deadline = time.monotonic() + _SERVER_PATIENCE
    while time.monotonic() < deadline and server.alive:
        with contextlib.suppress(OSError, urllib.error.URLError):
            await asyncio.to_thread(urllib.request.urlopen, url, None, 2)
            return
        await asyncio.sleep(0.3)
    raise DemoError(f"The Prefect server did not come up. Its last lines:\n{_last_lines(log)}")


def _last_lines(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:]) if path.exists() else ""


@contextlib.contextmanager
def _display(console: Console, rows: Sequence[Any]) -> Iterator[Any]:
    """What shows the runs: a table that changes on a terminal, else a line for each change."""
    if console.is_terminal:
        with Live(_table(rows), console=console, refresh_per_second=4) as live:
            yield lambda: live.update(_table(rows))
        return
    shown: set[tuple[str, str]] = set()

    def show() -> None:
        for row in rows:
            if row.state and (row.name, row.state) not in shown:
                shown.add((row.name, row.state))
                console.print(f"  {row.name}: {row.state}", highlight=False)

    yield show


def _table(rows: Sequence[Any]) -> Table:
    table = Table()
    for title in ("flow run", "job", "job states seen", "state", "message"):
        table.add_column(title, overflow="fold")
    colours = {"Completed": "green", "Crashed": "red", "Cancelled": "yellow"}
    for row in rows:
        colour = colours.get(row.state, "blue")
        table.add_row(row.name, row.job, ", ".join(row.seen), f"[{colour}]{row.state}[/{colour}]", row.message)
    return table


def _end_everything(home: Path, services: Sequence[Service]) -> None:
    """End every process that carries the mark of the demo's home, and remove that."""
    mark = f"XDG_STATE_HOME={home / 'state'}".encode()
    for _ in range(50):
        marked = [pid for pid in _processes() if pid != os.getpid() and mark in _environment_of(pid)]
        for pid in marked:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not marked:
            break
        time.sleep(0.05)
    if not _processes():  # no /proc: the groups of the jobs, and of what was started here
        for service in services:
            service.kill()
        for path in home.glob("state/**/pid"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                os.killpg(int(path.read_text().split()[1]), signal.SIGKILL)
    shutil.rmtree(home, ignore_errors=True)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
