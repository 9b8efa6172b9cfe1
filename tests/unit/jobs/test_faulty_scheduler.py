"""Driver, watcher and cancelling against tests/fakes/faulty: real jobs, and answers that are not to be trusted."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from generic_worker.commands.runner import CommandRunner
from generic_worker.job import Job, JobState
from generic_worker.jobs.cancellation import end_job
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.submission import submit_job
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FAKES = Path(__file__).parents[2] / "fakes"
LOG = logging.getLogger("test.faults")


class Faulty:
    """The scheduler in a state directory of its own, and a driver of its recipe that is in a hurry."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self.place = place
        recipe = yaml.safe_load((FAKES / "faulty.yaml").read_text())
        recipe["policy"] = {"poll": 1, "lost_polls": 3, "lost_after": 3, "grace": 2, "visible_after": 2}
        for operation in (recipe["submit"], recipe["find"], recipe["status"], *recipe["cancel"]):
            operation |= {"timeout": 3, "env": {"FAULTY_DIR": str(place)}}
        self.driver = Driver(load(recipe).recipe, CommandRunner(4, max_output=2**20))

    def faults(self, text: str) -> None:
        """Change the faults from now on."""
        (self.place / "faults").write_text(text)

    def calls(self, verb: str) -> int:
        path = self.place / "calls"
        return sum(line.split()[1] == verb for line in path.read_text().splitlines()) if path.exists() else 0

    async def submit(self, script: str, key: str = "") -> Job:
        key = key or f"pf-{uuid.uuid4().hex}"  # the guardian ends all processes that carry it
        job = Job(key, {"job_key": key, "wait": 0, "env": {}, "command": shlex.join(["sh", "-c", script])}, "faulty")
        await submit_job(self.driver, job)
        return job

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():  # noqa: ASYNC110 - it is another process that makes it so
            await asyncio.sleep(0.05)


def each(place: Path, names: list[str], scenario: Callable[[Faulty, str], Awaitable[object]]) -> dict[str, object]:
    """Play a scenario once for each name, all at the same time; returns what each returned or raised."""

    async def play() -> list[object]:
        runs = (scenario(Faulty(place / name), name) for name in names)
        return list(await asyncio.gather(*runs, return_exceptions=True))

    return dict(zip(names, asyncio.run(play()), strict=True))


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{FAKES}:{os.environ['PATH']}")


@pytest.mark.parametrize("unseen", [0, 1])
def test_whatever_a_submission_answers_there_is_one_job_and_it_has_its_id(tmp_path: Path, unseen: int) -> None:
    faults = ["slow", "hang", "down", "lost", "mute", "empty", "garbage", "cut"]

    async def scenario(faulty: Faulty, fault: str) -> bool:
        faulty.faults(f"submit.{fault}=1 list.unseen={unseen}")
        submitting = asyncio.create_task(faulty.submit("exit 0"))
        await faulty.until(lambda: faulty.calls("submit"))
        faulty.faults(f"list.unseen={unseen}")
        job = await submitting
        return (faulty.place / "submissions").read_text() == f"{job.key} {job.id}\n"

    assert each(tmp_path, faults, scenario) == dict.fromkeys(faults, True)


def test_whatever_a_status_answers_a_job_ends_only_when_it_does_and_as_it_does(tmp_path: Path) -> None:
    faults = ["slow", "hang", "down", "garbage", "cut", "flood", "strange"]

    async def scenario(faulty: Faulty, fault: str) -> tuple[bool, int | None]:
        gate = faulty.place / "gate"
        job = await faulty.submit(f"until [ -e {gate} ]; do sleep 0.1; done; exit 3")
        faulty.faults(f"list.{fault}=1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(job, faulty.driver, print)
            await faulty.until(lambda: faulty.calls("list") >= 2)
            early = watch.ended.done()
            gate.touch()
            faulty.faults("")
            watcher.hurry(watch)
            return early, (await watch.ended).exit_code

    assert each(tmp_path, faults, scenario) == dict.fromkeys(faults, (False, 3))


def test_a_job_that_two_answers_leave_out_is_not_lost(tmp_path: Path, simulated) -> None:
    async def scenario(faulty: Faulty) -> int | None:
        gate = faulty.place / "gate"
        job = await faulty.submit(f"until [ -e {gate} ]; do sleep 0.1; done; exit 3")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(job, faulty.driver, print)
            await faulty.until(lambda: watch.status.state.alive)
            faulty.faults("list.empty=1")
            await faulty.until(lambda: watch.absences == 2 or watch.ended.done())
            faulty.faults("")
            await faulty.until(lambda: not watch.absences)
            gate.touch()
            return (await watch.ended).exit_code

    assert simulated(scenario(Faulty(tmp_path / "empty"))) == 3


@pytest.mark.parametrize("verb", ["cancel", "list"])
def test_a_job_is_ended_in_spite_of_what_fails_meanwhile(tmp_path: Path, verb: str) -> None:
    faults = ["slow", "hang", "down", "lost", "mute", "garbage"]

    async def scenario(faulty: Faulty, fault: str) -> JobState:
        job = await faulty.submit("trap '' TERM; sleep 300; sleep 300")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(job, faulty.driver, print)
            await faulty.until(lambda: watch.status.state.alive)
            before = faulty.calls(verb)
            faulty.faults(f"{verb}.{fault}=1")
            ending = asyncio.create_task(end_job(watcher, watch))
            await faulty.until(lambda: ending.done() or faulty.calls(verb) >= before + 2)
            faulty.faults("")
            return (await ending).state

    assert each(tmp_path, faults, scenario) == dict.fromkeys(faults, JobState.CANCELLED)


def test_a_forgotten_job_whose_id_goes_to_another_is_lost_and_the_other_is_left_alone(
    tmp_path: Path, simulated
) -> None:
    async def scenario(faulty: Faulty) -> tuple[bool, JobState, int]:
        gate = faulty.place / "gate"
        faulty.faults("list.forget=0 submit.recycle=1")
        job = await faulty.submit(f"until [ -e {gate} ]; do sleep 0.1; done")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(job, faulty.driver, print)
            await faulty.until(lambda: watch.ours)
            gate.touch()
            await faulty.until((faulty.place / "jobs" / job.id / "ended").exists)
            other = await faulty.submit("sleep 60", "pf-other")
            await faulty.until(lambda: watch.foreign or watch.ended.done())
            status = await end_job(watcher, watch)
            await faulty.driver.cancel(other, 1)
            return other.id == job.id, status.state, faulty.calls("cancel")

    assert simulated(scenario(Faulty(tmp_path / "recycled"))) == (True, JobState.ABSENT, 1)
