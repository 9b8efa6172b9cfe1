"""`generic-worker demo`: a Prefect server, a work pool, a worker and three flow runs, in a home of their own.

Everything it starts carries the mark of that home in its environment, and is ended with it: nothing is left behind,
whenever and however the demo is interrupted. Prefect is loaded only once its settings point there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
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
from rich.text import Text

from generic_worker.cli.demo.services import Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SERVER_PATIENCE = 90.0
"""Seconds that the server has to answer for the first time."""


_TO_END = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def main() -> int:
    """Run the demo; returns 0 only if all three flow runs ended as they should."""
    console = Console()
    home = Path(tempfile.gettempdir()).resolve() / f"generic-worker-demo-{secrets.token_hex(8)}"
    started, services = time.monotonic(), list[Service]()
    try:
        for number in _SIGNALS:
            signal.signal(number, _interrupt)
        home.mkdir(mode=0o700)
        good = asyncio.run(_demo(console, home, services))
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 130
    except (DemoError, OSError) as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    finally:
        try:
            _ignore_signals()
        finally:  # also when one of them was quicker
            _end_everything(home, services)
    verdict = "All three ended as they should" if good else "Not all ended as they should"
    console.print(f"{verdict}, after {time.monotonic() - started:.0f} s.", highlight=False)
    return 0 if good else 1


def _interrupt(*_: object) -> None:
    _ignore_signals()  # once is enough: what comes now is not to be interrupted
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


async def _demo(console: Console, home: Path, services: list[Service]) -> bool:
    port = _free_port()
    environment = _environment(home, port)
    os.environ.update(environment)
    console.print(f"Starting a Prefect server on port {port}, with a temporary home.", highlight=False)
    server = await _start(services, home / "server.log", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    runs_module = import_module("generic_worker.cli.demo.runs")  # it takes a while, and the server needs one too
    await _until_up(server, f"http://127.0.0.1:{port}/api/health", home / "server.log")
    console.print("Creating a work pool from the recipe 'process', a deployment and three flow runs.", soft_wrap=True)
    flows = home / "flows"
    flows.mkdir()
    shutil.copy(Path(__file__).with_name("flow.py"), flows)
    table = runs_module.rows()
    with _blamed(server, "server", home):
        runs = await runs_module.prepare(flows, {name: environment[name] for name in _FOR_FLOW_RUNS}, table)
    command = ["worker", "start", "--type", "generic", "--pool", runs_module.POOL]
    console.print(f"Starting a worker: prefect {' '.join(command)}", highlight=False, soft_wrap=True)
    worker = await _start(services, home / "worker.log", *command, "--name", "demo")
    with _blamed(worker, "worker", home), _blamed(server, "server", home), _display(console, table) as show:
        await runs_module.follow(runs, show, lambda: server.alive and worker.alive)
    if not console.is_terminal:
        console.print(_table(table))
    good = all(row.good for row in table)
    if not good:
        console.print(f"The worker's last lines:\n{_last_lines(home / 'worker.log')}", markup=False, soft_wrap=True)
    return good


async def _start(services: list[Service], log: Path, *words: str) -> Service:
    """Start a command of Prefect's. An interrupt waits until it has begun, and so can be found and ended."""

    def start() -> Service:
        service = Service([sys.executable, "-m", "prefect", *words], log)
        services.append(service)
        return service

    return await asyncio.to_thread(start)


@contextlib.contextmanager
def _blamed(service: Service, name: str, home: Path) -> Iterator[None]:
    """Say that a service has ended, if it has, in place of whatever has failed without it."""
    ended = f"The {name} ended by itself. Its last lines:"
    try:
        yield
    except Exception as error:
        time.sleep(_TO_END)  # it may be about to end
        if not service.alive:
            raise DemoError(f"{ended}\n{_last_lines(home / f'{name}.log')}") from error
        raise
    if not service.alive:
        raise DemoError(f"{ended}\n{_last_lines(home / f'{name}.log')}")


_FOR_FLOW_RUNS = ("PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_SERVER_ANALYTICS_ENABLED", "DO_NOT_TRACK")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


def _environment(home: Path, port: int) -> dict[str, str]:
    """Settings that keep the demo in its home, and the user's own out of it. No proxy leads to this host's loopback."""
    for name in [name for name in os.environ if name.startswith("PREFECT_") or name.lower() in _PROXIES]:
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
    what = f"did not answer at {url} within {_SERVER_PATIENCE:g} s" if server.alive else "ended by itself"
    raise DemoError(f"The Prefect server {what}. Its last lines:\n{_last_lines(log)}")


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
                console.print(f"  {row.name}: {row.state}", highlight=False, markup=False)

    yield show


def _table(rows: Sequence[Any]) -> Table:
    table = Table()
    for title in ("flow run", "job", "job states seen", "state", "message"):
        table.add_column(title, overflow="fold")
    colours = {"Completed": "green", "Crashed": "red", "Cancelled": "yellow"}
    for row in rows:
        colour = colours.get(row.state, "blue")
        cells = (row.name, row.job, ", ".join(row.seen), row.message)
        name, job, seen, message = map(Text, cells)  # what others wrote is no markup
        table.add_row(name, job, seen, Text(row.state, style=colour), message)
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
