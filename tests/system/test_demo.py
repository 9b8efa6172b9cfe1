"""`generic-worker demo` as a newcomer runs it: what it shows, and that it leaves nothing behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from generic_worker.cli.demo import demo
from generic_worker.cli.demo.runs import Row
from generic_worker.cli.demo.services import Service

PROGRAM = Path(sys.executable).with_name("generic-worker")


@pytest.fixture
def place(tmp_path):
    """A home and a directory for temporary files, both empty; and an environment that points there."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "XDG_"))}
    dead = "http://127.0.0.1:1"  # a proxy that does not lead to loopback, as those of companies
    own = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "http_proxy": dead, "ALL_PROXY": dead}
    own |= {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_API_KEY": "of-another-server", "COLUMNS": "200"}
    return tmp_path, {**kept, **own}


def left_of(folder):
    """What is left of a demo whose home and temporary files were there: files, and processes that know of them."""
    found = [str(path) for path in folder.glob("*/**/*")]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def test_three_runs_end_as_they_should_and_nothing_is_left(place):
    folder, env = place
    done = subprocess.run([PROGRAM, "demo"], check=False, env=env, capture_output=True, text=True, timeout=200)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.stdout.splitlines() if "│" in line]
    found = {name: (seen, state, message.replace(job, "JOB")) for name, job, seen, state, message in rows}
    assert found == {
        "completes": ("running, succeeded", "Completed", ""),
        "dies": ("running, failed", "Crashed", "The process job JOB ended as finished, exit code 3."),
        "is-cancelled": (found["is-cancelled"][0], "Cancelled", "Flow run was cancelled successfully."),
    }
    assert done.stdout.splitlines()[-1].startswith("All three ended as they should, after ")
    assert left_of(folder) == []


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGTERM, "Starting a Prefect server"),
        (signal.SIGHUP, "Starting a worker"),
        (signal.SIGINT, "is-cancelled: Running"),
    ],
)
def test_an_interrupt_early_or_late_leaves_nothing_behind(place, number, moment):
    folder, env = place
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen([PROGRAM, "demo"], env=env, stdout=subprocess.PIPE, stderr=file, text=True)
    try:
        for line in process.stdout:
            if moment in line:
                break
        process.send_signal(number)
        process.send_signal(number)  # the impatient press it twice
        rest = process.stdout.read()
        code = process.wait(60)
    finally:
        process.kill()
    errors = output.read_text()
    output.unlink()

    assert (code, rest.splitlines()[-1], errors) == (130, "Interrupted.", "")
    assert left_of(folder) == []


def test_a_server_that_does_not_start_is_told_with_its_own_words(place):
    folder, env = place
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        script = f"from generic_worker.cli.demo import demo; demo._free_port = lambda: {port}; demo.main()"
        done = subprocess.run(
            [sys.executable, "-c", script], check=False, env=env, capture_output=True, text=True, timeout=200
        )

    assert "The Prefect server ended by itself. Its last lines:" in done.stdout
    assert f"Port {port} is already in use" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert left_of(folder) == []


def test_a_service_that_ends_is_blamed_for_what_fails_without_it(tmp_path):
    service = Service(["/bin/sh", "-c", "echo out of [/memory]"], tmp_path / "server.log")

    with pytest.raises(demo.DemoError) as caught, demo._blamed(service, "server", tmp_path):
        raise ConnectionError

    assert str(caught.value) == "The server ended by itself. Its last lines:\nout of [/memory]"


def test_what_others_wrote_is_shown_as_it_is():
    row = Row("dies", "Crashed", {}, job="1", seen=["failed"], state="Crashed", message="no [red]disk[/bold]")
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(demo._table([row]))

    assert "no [red]disk[/bold]" in console.export_text()
