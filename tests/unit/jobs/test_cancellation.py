"""Ending jobs of a small real scheduler: files `job.<id>` in a directory, listed by `cat`."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

import pytest

from generic_worker.job import Job, JobState, JobStatus
from generic_worker.jobs import clock
from generic_worker.jobs.cancellation import end_job
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from generic_worker.jobs.watches import Watch

RECIPE = """
recipe: 1
name: test
variables: {place: {type: string}}
submit: {run: [echo, '1'], output: {regex: '(?P<id>.+)'}}
status:
  run: |
    cd "$place"; [ ! -e down ] || exit 1
    cat job.* 2>/dev/null; true
  output: {columns: [id, state, key], separator: '|'}
cancel:
  - run: |
      cd "$place"; echo "TERM $job_id" >>asked; [ ! -e down ] || { echo no route >&2; exit 1; }
      [ -e stubborn ] || sed -i 's/|R|/|CA|/' "job.$job_id"
  - run: |
      cd "$place"; echo "KILL $job_id" >>asked; [ ! -e down ] || { echo no route >&2; exit 1; }
      [ -e immortal ] || rm "job.$job_id"
    absent: No such file
states: {pending: [PD], running: [R], succeeded: [CD], failed: [F], cancelled: [CA]}
policy: {grace: 8, lost_polls: 3, lost_after: 60, visible_after: 0}
"""


def asked(place: Path) -> list[str]:
    return (place / "asked").read_text().splitlines() if (place / "asked").exists() else []


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - programs and files tell of nothing
        await asyncio.sleep(0.1)


@pytest.fixture(name="play")
def play_fixture(simulated, timeless):
    """Run a script with a watched job in simulated time; returns what it does, and the warnings about the job."""

    def play(
        place: Path, script: Callable[[Watcher, Watch], Awaitable[JobStatus | None]], *, unseen: bool = False
    ) -> tuple[JobStatus | None, list[str]]:
        heard: list[str] = []

        async def scenario() -> JobStatus | None:
            driver = Driver(load(RECIPE).recipe, timeless)
            born = -math.inf if unseen else clock.now()
            job = Job("pf-1", {"place": str(place)}, "test", id="1", born=born)
            async with Watcher(logging.getLogger("test.cancelling")) as watcher:
                watch = watcher.watch(job, driver, lambda news: heard.append(news) if isinstance(news, str) else None)
                return await asyncio.wait_for(script(watcher, watch), 600)

        return simulated(scenario()), heard

    return play


def test_a_job_that_ends_when_asked_to_is_not_killed(tmp_path, play):
    (tmp_path / "job.1").write_text("1|R|pf-1\n")
    status, heard = play(tmp_path, end_job)

    assert status == JobStatus(JobState.CANCELLED, "CA")
    assert asked(tmp_path) == ["TERM 1"]
    assert heard == []


def test_the_next_step_comes_after_the_grace_time_and_a_vanished_job_has_ended(tmp_path, play):
    (tmp_path / "job.1").write_text("1|R|pf-1\n")
    (tmp_path / "stubborn").touch()
    told: list[float] = []

    async def script(watcher: Watcher, watch: Watch) -> JobStatus:
        begin = clock.now()
        ending = asyncio.create_task(end_job(watcher, watch))
        await until(lambda: "KILL 1" in asked(tmp_path))
        told.append(clock.now() - begin)
        return await ending

    status, _ = play(tmp_path, script)

    assert status is not None
    assert status.state is JobState.ABSENT
    assert asked(tmp_path) == ["TERM 1", "KILL 1"]
    assert 8 <= told[0] <= 8.2


def test_with_patience_each_step_is_taken_once_and_survival_is_told(tmp_path, play):
    (tmp_path / "job.1").write_text("1|R|pf-1\n")
    (tmp_path / "stubborn").touch()
    (tmp_path / "immortal").touch()
    status, _ = play(tmp_path, lambda watcher, watch: end_job(watcher, watch, 60))

    assert status == JobStatus(JobState.RUNNING, "R")
    assert asked(tmp_path) == ["TERM 1", "KILL 1"]


def test_without_it_the_last_step_is_repeated(tmp_path, play):
    (tmp_path / "job.1").write_text("1|R|pf-1\n")
    (tmp_path / "stubborn").touch()
    (tmp_path / "immortal").touch()

    async def script(watcher: Watcher, watch: Watch) -> JobStatus:
        ending = asyncio.create_task(end_job(watcher, watch))
        await until(lambda: asked(tmp_path)[3:] == ["KILL 1"])
        (tmp_path / "immortal").unlink()
        return await ending

    status, _ = play(tmp_path, script)

    assert status is not None
    assert status.state is JobState.ABSENT


@pytest.mark.parametrize("line", ["1|R|theirs\n", "1|PD|theirs\n"])
def test_an_id_that_was_given_to_another_job_is_never_cancelled(tmp_path, play, line):
    (tmp_path / "job.1").write_text("1|R|pf-1\n")

    async def script(watcher: Watcher, watch: Watch) -> JobStatus:
        await until(lambda: watch.status.state.alive)
        (tmp_path / "job.1").write_text(line)
        await until(lambda: watch.foreign)
        return await end_job(watcher, watch, 20)

    status, _ = play(tmp_path, script)

    assert status == JobStatus(JobState.ABSENT, "R")
    assert asked(tmp_path) == []


def test_a_job_that_nobody_has_seen_for_long_is_not_cancelled_before_it_is_seen_again(tmp_path, play):
    (tmp_path / "job.1").write_text("1|R|pf-1\n")
    (tmp_path / "down").touch()

    async def script(watcher: Watcher, watch: Watch) -> JobStatus:
        ending = asyncio.create_task(end_job(watcher, watch))
        await asyncio.sleep(100)
        assert asked(tmp_path) == []
        (tmp_path / "down").unlink()
        return await ending

    status, _ = play(tmp_path, script, unseen=True)

    assert status == JobStatus(JobState.CANCELLED, "CA")


def test_nobody_waits_longer_for_an_answer_than_patience_allows(tmp_path, play):
    (tmp_path / "down").touch()
    status, _ = play(tmp_path, lambda watcher, watch: end_job(watcher, watch, 20), unseen=True)

    assert status == JobStatus(JobState.UNKNOWN)
    assert asked(tmp_path) == []


def test_a_step_that_met_a_dead_infrastructure_is_taken_again_and_reported_once(tmp_path, play):
    (tmp_path / "job.1").write_text("1|R|pf-1\n")
    (tmp_path / "down").touch()

    async def script(watcher: Watcher, watch: Watch) -> JobStatus:
        ending = asyncio.create_task(end_job(watcher, watch))
        await until(lambda: len(asked(tmp_path)) >= 3)
        (tmp_path / "down").unlink()
        return await ending

    status, heard = play(tmp_path, script)

    assert status == JobStatus(JobState.CANCELLED, "CA")
    assert set(asked(tmp_path)) == {"TERM 1"}
    assert len([text for text in heard if text.startswith("Cancelling: ") and "no route" in text]) == 1


def test_a_job_in_a_state_without_a_word_of_ours_can_be_cancelled(tmp_path, play):
    (tmp_path / "job.1").write_text("1|LEVITATING|pf-1\n")
    status, _ = play(tmp_path, end_job, unseen=True)

    assert status is not None
    assert status.state is JobState.ABSENT
    assert asked(tmp_path)[-1] == "KILL 1"


def test_a_job_that_has_ended_by_itself_is_left_alone(tmp_path, play):
    (tmp_path / "job.1").write_text("1|CD|pf-1\n")

    async def script(watcher: Watcher, watch: Watch) -> JobStatus:
        await watch.ended
        return await end_job(watcher, watch)

    status, _ = play(tmp_path, script, unseen=True)

    assert status == JobStatus(JobState.SUCCEEDED, "CD")
    assert asked(tmp_path) == []
