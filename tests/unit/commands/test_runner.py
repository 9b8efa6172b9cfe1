"""Many real commands at once, and commands that are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from generic_worker.commands import processes, runner
from generic_worker.commands.runner import Command, CommandResult, CommandRunner
from generic_worker.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENT = "trap '' TERM; (trap '' TERM; sleep 100; sleep 100) & while :; do sleep 100; done"
ROOT = Path(runner.__file__).parents[2]


def test_secrets_are_neither_logged_nor_shown(caplog, run):
    caplog.set_level(logging.DEBUG)
    run("true", "hidden", env={"TOKEN": "hidden"}, stdin="hidden")

    assert "hidden" not in caplog.text
    assert "hidden" not in repr(Command(("true",), env={"TOKEN": "hidden"}, stdin="hidden"))


# Many at once


async def until(true: Callable[[], object]) -> None:
    """Wait for what a program does."""
    while not true():  # noqa: ASYNC110 - programs tell of nothing
        await asyncio.sleep(0.02)


def test_no_more_than_the_limit_run_at_once(tmp_path):
    runner, here, counted, gate = (CommandRunner(limit=3), *(tmp_path / name for name in ("here", "counted", "gate")))
    here.mkdir()
    counted.mkdir()
    count = f"touch {here}/$$; ls {here} | wc -l; touch {counted}/$$"
    script = f"{count}; until [ -e {gate} ]; do sleep 0.02; done; rm {here}/$$"

    async def start() -> list[CommandResult]:
        running = asyncio.gather(*(runner.run(Command(("sh", "-c", script))) for _ in range(12)))
        await until(lambda: len(list(counted.iterdir())) == 3)
        gate.touch()
        return await running

    assert max(int(result.stdout) for result in asyncio.run(start())) == 3


def test_one_runner_serves_several_event_loops():
    runner = CommandRunner(limit=1)

    async def start() -> list[CommandResult]:
        return await asyncio.gather(*(runner.run(Command(("true",))) for _ in range(3)))

    assert [len(asyncio.run(start())) for _ in range(3)] == [3, 3, 3]


def test_the_event_loop_has_a_turn_after_each_start_of_100_commands(monkeypatch):
    turns, starts, begin = [0], [], processes.Execution.start

    def start(execution: processes.Execution) -> None:
        starts.append(turns[0])
        begin(execution)

    async def turn() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    async def scenario() -> list[CommandResult]:
        turning, runner = asyncio.ensure_future(turn()), CommandRunner(limit=100)
        results = await asyncio.gather(*(runner.run(Command(("sh", "-c", f"echo {n}"))) for n in range(100)))
        turning.cancel()
        return results

    monkeypatch.setattr(processes.Execution, "start", start)

    assert [int(result.stdout) for result in asyncio.run(scenario())] == list(range(100))
    assert starts == sorted(set(starts))


def test_hundreds_of_commands_leave_nothing(tmp_path, script, rss, open_fds):
    broken = script(tmp_path / "broken", "#!/nowhere\n")
    foreign = script(tmp_path / "foreign", b"\x7fELF" + bytes(100))
    kinds = [("true",), ("sh", "-c", "exit 3"), ("sh", "-c", "kill -9 $$"), ("echo", "x"), ("nowhere",)]
    kinds += [(broken,), (foreign,), ("true", "a\0b"), ("true",), ("true",)]
    runner, fds = CommandRunner(limit=8), len(open_fds())

    async def start(count: int) -> list[CommandResult | BaseException]:
        runs = (runner.run(Command(kinds[number % len(kinds)], stdin="x")) for number in range(count))
        return await asyncio.gather(*runs, return_exceptions=True)

    asyncio.run(start(100))  # what is made once, such as caches, is no leak
    before = rss()
    outcomes = asyncio.run(start(400))
    growth = rss() - before

    codes = [outcome.exit_code for outcome in outcomes if isinstance(outcome, CommandResult)]
    assert {code: codes.count(code) for code in codes} == {0: 160, 3: 40, -9: 40}
    assert sum(isinstance(outcome, CommandError) for outcome in outcomes) == 160
    assert len(open_fds()) <= fds  # of what was made before, some may go
    assert growth < 400 * 16 * 2**10, "16 KiB each"


# Cancellation


async def cancel_after(delay: float, *argv: str, runner: CommandRunner | None = None) -> None:
    task = asyncio.ensure_future((runner or CommandRunner()).run(Command(argv)))
    await asyncio.sleep(delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("milliseconds", [*range(11), 300])
def test_a_cancelled_command_is_stopped_however_early(milliseconds):
    asyncio.run(cancel_after(milliseconds / 1000, "sh", "-c", "sleep 100; sleep 100"))


def test_a_cancelled_command_that_ignores_sigterm_is_killed(monkeypatch):
    monkeypatch.setattr(processes, "_TERM_S", 0.1)
    asyncio.run(cancel_after(0.2, "sh", "-c", PATIENT))


def test_a_cancelled_command_that_ignores_sigterm_does_not_hold_up_its_caller(tmp_path, monkeypatch, marked_processes):
    monkeypatch.setattr(processes, "_TERM_S", 3600)

    async def scenario() -> None:
        script = f"trap '' TERM; touch {tmp_path}/ready; sleep 3600; sleep 3600"
        task = asyncio.ensure_future(CommandRunner().run(Command(("sh", "-c", script), timeout=3600)))
        await until((tmp_path / "ready").exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    alive = marked_processes()
    while left := marked_processes():  # the shell may be about to start its `sleep`
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    assert alive


def test_commands_that_are_cancelled_in_the_queue_never_start(tmp_path):
    runner, gate = CommandRunner(limit=1), tmp_path / "gate"

    async def start() -> None:
        script = f"until [ -e {gate} ]; do sleep 0.02; done; rm {gate}"
        first = asyncio.ensure_future(runner.run(Command(("sh", "-c", script))))
        await asyncio.sleep(0.05)
        await asyncio.gather(*(cancel_after(0.1, "touch", f"{tmp_path}/{n}", runner=runner) for n in range(20)))
        gate.touch()
        await first
        await runner.run(Command(("true",)))

    asyncio.run(start())

    assert list(tmp_path.iterdir()) == []


def test_hundreds_of_cancellations_leave_nothing():
    runner = CommandRunner(limit=8)

    async def start() -> None:
        await asyncio.gather(*(cancel_after(n / 400, "sleep", "100", runner=runner) for n in range(200)))

    asyncio.run(start())


def test_a_cancel_scope_of_anyio_stops_a_command(monkeypatch):
    monkeypatch.setattr(processes, "_TERM_S", 0.1)

    async def start() -> bool:
        with anyio.move_on_after(0.1) as scope:
            await CommandRunner().run(Command(("sh", "-c", PATIENT)))
        return bool(scope.cancel_called)

    assert asyncio.run(start())


def test_a_worker_that_exits_stops_what_it_still_runs(marked_processes, until):
    """Threads that are daemons die with the interpreter: they must get the time to kill."""
    text = f"""
import asyncio
from generic_worker.commands import processes
from generic_worker.commands.runner import Command, CommandRunner
processes._TERM_S = 0.5
async def main():
    task = asyncio.ensure_future(CommandRunner().run(Command(("sh", "-c", {PATIENT!r}))))
    await asyncio.sleep(0.3)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", text], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})

    until(lambda: marked_processes() == set(), 60)


def test_a_program_that_cannot_even_be_started_does_not_hold_up_its_caller(monkeypatch, run):
    """On a dead network file system exec does not return. Whether the command ran is unknown."""
    mended = threading.Event()

    def fork() -> int:
        mended.wait()
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(runner, "_STUCK_S", 0.2)
    result = run("true", timeout=0.1)
    mended.set()

    assert (result.timed_out, result.exit_code) == (True, -signal.SIGKILL)
