"""What starting a program leaves behind where there is no room for it, and what it hands on."""

import asyncio
import errno
import glob
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from generic_worker.commands import spawning
from generic_worker.commands.runner import Command, CommandRunner
from generic_worker.errors import CommandError

ROOT = Path(spawning.__file__).parents[2]

UNDER_A_LIMIT = """
import asyncio, json, os, resource, sys, threading, time
from generic_worker.commands.runner import Command, CommandRunner
before = len(os.listdir("/proc/self/fd"))
os.setuid(30000 + os.getpid() % 30000)  # whoever else runs these tests counts as another user
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
try:
    result = asyncio.run(CommandRunner().run(Command(("echo", "x"))))
    outcome = [result.exit_code, result.stdout]
except Exception as error:
    outcome = [type(error).__name__, str(error)]
deadline = time.monotonic() + 60  # a timer of sh runs for two seconds
while threading.active_count() > 1 and time.monotonic() < deadline:
    time.sleep(0.05)
try:
    os.waitpid(-1, os.WNOHANG)
    children = True
except ChildProcessError:
    children = False
left = [len(os.listdir("/proc/self/fd")) - before, threading.active_count() - 1, children]
print(json.dumps([outcome, left]))
"""


def test_a_command_has_its_own_session_and_no_terminal_and_no_descriptor_of_the_worker(run):
    fd = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        session = run("sh", "-c", "echo $$; cut -d' ' -f5,6 /proc/$$/stat").stdout.split()
        seen = run("ls", "/proc/self/fd").stdout.split()
    finally:
        os.close(fd)

    assert len(set(session)) == 1
    assert seen == ["0", "1", "2", "3"]


def test_importing_sh_leaves_glob_alone():
    assert glob.glob.__module__ == "glob"


@pytest.mark.skipif(os.getuid() != 0, reason="needs a user without other processes")
@pytest.mark.parametrize(
    ("limit", "outcome"),
    [
        (1, ["CommandError", f"cannot start 'echo': can't start new thread. {spawning.LIMITS}"]),
        (2, ["CommandError", f"cannot start 'echo': Resource temporarily unavailable. {spawning.LIMITS}"]),
        (3, [0, "x\n"]),  # the program runs, but sh gets no threads
        (4, [0, "x\n"]),
        (5, [0, "x\n"]),
    ],
)
def test_a_user_without_room_for_processes_gets_an_error_and_loses_nothing(limit, outcome):
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_LIMIT, str(limit)],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert json.loads(done.stdout) == [outcome, [0, 0, False]]


def test_a_fork_that_fails_leaves_nothing(monkeypatch, refusal):
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)

    assert refusal("true").startswith("cannot start 'true': Resource temporarily unavailable. ")


def test_a_worker_without_descriptors_gets_an_error_and_loses_nothing(open_fds):
    """Each number of free descriptors fails at another place."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    outcomes = []

    async def start() -> None:
        used = {int(name) for name in open_fds()}
        free = [number for number in range(soft) if number not in used]
        for limit in free[:16]:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                outcomes.append((await CommandRunner().run(Command(("echo", "x")))).stdout)
            except CommandError as error:
                outcomes.append(str(error))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    asyncio.run(start())

    assert set(outcomes) == {"x\n", f"cannot start 'echo': Too many open files. {spawning.LIMITS}"}
