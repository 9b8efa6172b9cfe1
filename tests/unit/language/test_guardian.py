"""The guardian of a job, as real processes: what it passes on, and what it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from generic_worker.language.guardian import guarded, term_to_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
NOTES_TERM = f"exec {sys.executable} {Path(__file__).parents[2] / 'fakes' / 'notes_term.py'}"
"""In Python, as Prefect's engine is: a shell cannot trap what is ignored when it starts."""
IGNORES_TERM = "trap '' TERM; echo >ready; while :; do sleep 1; done"

TAKES_TERM_BACK = f"{sys.executable} -c 'from signal import *; signal(SIGTERM, SIG_DFL); raise_signal(SIGTERM)'"
"""As Prefect's engine does, which then ends by the TERM that it was sent."""


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


class Guarded:
    """A job: a shell that runs the guardian, in a process group of its own."""

    def __init__(self, shell: str, command: str, place: Path) -> None:
        self.key, self.place = f"pf-{uuid4().hex}-abcdef", place
        place.mkdir(exist_ok=True)
        (place / "script").write_text(f"#!/bin/sh\n{guarded(command, self.key)}")
        argv = [shell, "sh", "script"] if shell == "busybox" else [shell, "script"]
        self.process = subprocess.Popen(argv, cwd=place, start_new_session=True, stderr=subprocess.PIPE, text=True)

    def marked(self) -> list[int]:
        """The processes of the job."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"GENERIC_WORKER_JOB={self.key}".encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def descendants(self) -> list[int]:
        """The job's first process, its children, and theirs."""
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
        found = [self.process.pid]
        for parent in found:
            found += [pid for pid, its in parents.items() if its == parent]
        return found

    def is_ready(self) -> bool:
        return (self.place / "ready").exists()

    def told(self) -> str:
        path = self.place / "told"
        return path.read_text() if path.exists() else ""


def with_each_shell(command: str, place: Path) -> dict[str, Guarded]:
    """The same job of every shell at the same time, once they are ready: what is tried with them mostly waits."""
    jobs = {shell: Guarded(shell, command, place / shell) for shell in SHELLS}
    for job in jobs.values():
        until(job.is_ready)
    return jobs


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if tmp_path in {cwd := (folder / "cwd").readlink(), cwd.parent}:
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue


def elsewhere(script: str) -> str:
    """A command that runs a script in a session of its own, as Prefect runs its engine, and waits for it."""
    return f'sh -c \'setsid sh -c "$1" & wait\' sh "{script}"'


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("command", "code"), [
    ("true", 0), ("sh -c 'exit 3'", 3), ("sh -c 'exit 147'", 147), ("sh -c 'exit 255'", 255),
    ("sh -c 'kill -KILL $$'", -9), ("sh -c 'kill -SEGV $$'", -11), (TAKES_TERM_BACK, -15),
])  # fmt: skip
def test_the_job_ends_as_its_command_did(shell: str, command: str, code: int, place: Path) -> None:
    job = Guarded(shell, command, place)

    assert job.process.wait(60) == code
    until(lambda: not job.marked())


def test_term_for_the_first_process_alone_reaches_all(place: Path) -> None:
    jobs = with_each_shell(elsewhere(NOTES_TERM), place)
    for job in jobs.values():
        job.process.terminate()

    for shell, job in jobs.items():
        until(lambda job=job: job.told() == "TERM\n")
        assert (shell, job.process.poll()) == (shell, None)


def test_term_that_has_reached_all_is_not_passed_on_a_second_time(place: Path) -> None:
    jobs = with_each_shell(elsewhere(NOTES_TERM), place)
    for job in jobs.values():
        for process in [*job.marked(), job.process.pid]:
            os.kill(process, signal.SIGTERM)
    for job in jobs.values():
        until(job.told)
    time.sleep(3)  # it would be passed on after one

    assert {shell: job.told() for shell, job in jobs.items()} == dict.fromkeys(jobs, "TERM\n")


def test_nothing_of_a_job_is_left_when_its_session_was_killed(place: Path) -> None:
    jobs = with_each_shell(elsewhere(IGNORES_TERM), place)
    for shell, job in jobs.items():
        os.killpg(job.process.pid, signal.SIGKILL)
        job.process.wait(60)
        assert job.marked(), shell

    until(lambda: not [shell for shell, job in jobs.items() if job.marked()])


def test_what_a_job_that_has_ended_leaves_behind_is_ended(place: Path) -> None:
    leaves = "sh -c 'setsid sh -c \"$1\" & until [ -e ready ]; do sleep 0.1; done; exit 4' sh"
    jobs = with_each_shell(f'{leaves} "{IGNORES_TERM}"', place)

    assert {shell: job.process.wait(60) for shell, job in jobs.items()} == dict.fromkeys(jobs, 4)
    until(lambda: not [shell for shell, job in jobs.items() if job.marked()])


@pytest.mark.parametrize("shell", SHELLS)
def test_in_a_container_the_exit_code_is_the_commands_and_term_reaches_all(shell: str, place: Path) -> None:
    key = f"pf-{uuid4().hex}-abcdef"
    words = term_to_all(["sh", "-c", f"setsid {NOTES_TERM.removeprefix('exec ')}"], key)
    argv = ["busybox", "sh"] if shell == "busybox" else [shell]
    process = subprocess.Popen([*argv, *words[1:]], cwd=place, start_new_session=True)
    until((place / "ready").exists)
    os.killpg(process.pid, signal.SIGTERM)  # the group, as an init with -g does
    until(lambda: (place / "told").exists() and (place / "told").read_text())

    assert (place / "told").read_text() == "TERM\n"
    assert process.poll() is None
    assert subprocess.run(term_to_all(["sh", "-c", "exit 3"], key), check=False).returncode == 3


def test_who_is_started_while_all_descendants_are_killed_is_ended(place: Path) -> None:
    jobs = with_each_shell(elsewhere(IGNORES_TERM), place)
    for shell, job in jobs.items():
        seen = job.descendants()
        missed = seen.pop()
        for pid in seen:
            os.kill(pid, signal.SIGKILL)
        job.process.wait(60)
        assert missed in job.marked(), shell

    until(lambda: not [shell for shell, job in jobs.items() if job.marked()])
