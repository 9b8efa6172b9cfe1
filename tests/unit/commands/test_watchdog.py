"""A process is killed while its commands run: they end with it, and whatever they have started; nothing else does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CALLER = """
import asyncio, sys
from generic_worker.commands.programs import Command
from generic_worker.commands.runner import CommandRunner
from generic_worker.commands.watchdog import start_watchdog

async def main(place):
    runner = CommandRunner()
    await runner.run(Command(("sh", "-c", f"setsid sleep 300 >&- 2>&- & echo $! >{place}/apart")))
    hangs = f"trap '' TERM; sleep 301 & echo $! >{place}/child; echo $$ >{place}/parent; wait; sleep 302"
    await asyncio.gather(*(runner.run(Command(("sh", "-c", text))) for text in [hangs, "exit 1"]))

start_watchdog()
asyncio.run(main(sys.argv[1]))
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_commands_end_with_the_process_that_has_started_them_however_that_ends(tmp_path, number):
    def pid(name):
        return until(lambda: (tmp_path / name).exists() and (tmp_path / name).read_text().strip(), 60)

    caller = subprocess.Popen([sys.executable, "-c", CALLER, tmp_path], start_new_session=True)
    parent, child, apart = pid("parent"), pid("child"), pid("apart")
    try:
        assert all(map(alive, (parent, child, apart)))
        os.kill(caller.pid, number)
        caller.wait(60)

        until(lambda: not alive(parent) and not alive(child), 60)
        assert alive(apart), "a job has a session of its own"
    finally:
        os.kill(int(apart), signal.SIGKILL)
