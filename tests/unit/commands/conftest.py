"""Commands that tests run, and what none of them may leave behind."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from generic_worker.commands.runner import Command, CommandResult, CommandRunner
from generic_worker.errors import CommandError, CommandNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "COMMANDS_TEST"


def marked_processes(mark: str) -> set[int]:
    """Every process that a test started, whatever session it is in now."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def zombies() -> set[str]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.add(folder.name)
    return found


def open_fds() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if entry.exists() or entry.is_symlink()}


@pytest.fixture(autouse=True)
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Fail a test that leaves a process, a zombie, a thread or a descriptor behind."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(MARK, value)
    fds, threads = len(open_fds()), set(threading.enumerate())
    yield value
    deadline = time.monotonic() + 60
    while True:
        left = {
            "processes": marked_processes(value),
            "zombies": zombies(),
            "threads": set(threading.enumerate()) - threads,
            "fds": max(0, len(open_fds()) - fds),
        }
        if not any(left.values()) or time.monotonic() > deadline:
            break
        time.sleep(0.02)

    assert {name: what for name, what in left.items() if what} == {}


@pytest.fixture(name="marked_processes")
def marked_processes_fixture(mark):
    """The processes that this test has started and that have not ended."""
    return lambda: marked_processes(mark)


@pytest.fixture(name="open_fds")
def open_fds_fixture():
    """The descriptors of this process."""
    return open_fds


@pytest.fixture(name="rss")
def rss_fixture():
    """The memory of this process, in bytes."""
    return lambda: int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _run(*argv: object, runner: CommandRunner | None = None, **options: object) -> CommandResult:
    return asyncio.run((runner or CommandRunner()).run(Command(argv, **options)))


@pytest.fixture(name="run")
def run_fixture():
    """Run a command to its end: run(*words, runner=None, **options)."""
    return _run


@pytest.fixture
def refusal():
    """Run a command that cannot be run; returns the message."""

    def run(*argv: object, **options: object) -> str:
        with pytest.raises(CommandError) as caught:
            _run(*argv, **options)
        return str(caught.value)

    return run


@pytest.fixture
def not_found():
    """Run a command whose program is not there; returns the message."""

    def run(*argv: str, **options: object) -> str:
        with pytest.raises(CommandNotFound) as caught:
            _run(*argv, **options)
        return str(caught.value)

    return run


@pytest.fixture
def script():
    """Write a program: script(path, text, mode=0o755); returns its path as text."""

    def write(path: Path, text: str | bytes, mode: int = 0o755) -> str:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return str(path)

    return write
