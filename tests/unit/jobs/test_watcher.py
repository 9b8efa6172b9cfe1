"""The polling loop against small real programs. `soon` shrinks its times, so that minutes pass in seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import pytest

from generic_worker.commands.runner import CommandRunner
from generic_worker.job import Job, JobState, JobStatus
from generic_worker.jobs import watches as module
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from generic_worker.jobs.watches import Watch

LOG = logging.getLogger("test.watcher")

LISTING = """
recipe: 1
name: listing
submit: {run: [echo, '1'], output: {regex: '(?P<id>.+)'}}
status:
  run: |
    cd "$place"
    date +%s.%N >>asked
    cat list
    [ ! -e down ] || { echo "no route to the controller" >&2; exit 1; }
  output: {columns: [id, state, key], separator: '|'}
cancel: {run: ['true']}
variables: {place: {type: string}}
states: {pending: [PD], running: [R], succeeded: [CD], failed: [F], cancelled: [CA]}
"""

ONE_BY_ONE = LISTING.replace("cat list", 'cat "list.$job_id"').replace("name: listing", "name: one-by-one")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes last three seconds, apart from what the policy says."""
    monkeypatch.setattr(module, "_SOONEST", 0.05)
    monkeypatch.setattr(module, "_LONGEST", 1.5)
    monkeypatch.setattr(module, "_PAUSE_FACTOR", 0.1)


def driver_of(text: str, **policy: float) -> Driver:
    recipe = load(text).recipe
    recipe = recipe.model_copy(update={"policy": recipe.policy.model_copy(update=policy)})
    return Driver(recipe, CommandRunner(4))


def a_job(place: Path, number: int = 1, *, born: float = -1000.0) -> Job:
    return Job(f"pf-{number}", {"place": str(place)}, "listing", id=str(number), born=born)


def tell_to(heard: list[JobStatus | str]) -> Callable[[JobStatus | str], None]:
    return heard.append


def times(place: Path) -> list[float]:
    return [float(line) for line in (place / "asked").read_text().split()] if (place / "asked").exists() else []


def write(place: Path, *lines: str, name: str = "list") -> None:
    (place / "new").write_text("".join(f"{line}\n" for line in lines))
    (place / "new").rename(place / name)


async def ended(watch: Watch, seconds: float = 10) -> JobStatus:
    return await asyncio.wait_for(asyncio.shield(watch.ended), seconds)


def test_one_status_command_per_poll_serves_many_jobs_and_their_ends_are_told_apart(tmp_path: Path) -> None:
    async def scenario() -> None:
        driver = driver_of(LISTING)
        write(tmp_path, *(f"{n}|R|pf-{n}" for n in range(500)))
        async with Watcher(LOG) as watcher:
            watches = [watcher.watch(a_job(tmp_path, n), driver, print) for n in range(500)]
            await asyncio.sleep(2.5)

            assert len(times(tmp_path)) == 2
            assert {watch.status.state for watch in watches} == {JobState.RUNNING}

            write(tmp_path, *(f"{n}|{'F' if n % 2 else 'CD'}|pf-{n}" for n in range(500)))
            states = [(await ended(watch)).state for watch in watches]

            assert states == [JobState.SUCCEEDED, JobState.FAILED] * 250
            assert watcher.watches == []

    asyncio.run(scenario())


def test_a_new_job_is_asked_about_after_about_a_second_and_its_end_is_known_within_two(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            begin = time.time()
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING), print)
            await asyncio.sleep(3.3)
            first, *others = times(tmp_path)

            assert 0.9 <= first - begin <= 1.4
            assert [0.85 <= b - a <= 1.4 for a, b in zip([first, *others], others, strict=False)] == [True] * len(
                others
            )

            write(tmp_path, "1|CD|pf-1")
            await ended(watch, 2)

    asyncio.run(scenario())


def test_the_interval_grows_with_age_up_to_the_policy_and_has_jitter(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING), print)
            watch.changed = 1000.0
            ages = [1, 30, 60, 300, 450, 86400]

            assert [watch.interval(1000.0 + age) for age in ages] == [1, 1, 2, 10, 15, 15]
            watch.absences = 1
            assert watch.interval(1000.0 + 86400) == 15
            watch.hurry = True
            assert watch.interval(1000.0 + 86400) == 1

    asyncio.run(scenario())


@pytest.mark.usefixtures("soon")
def test_a_scheduler_that_does_not_answer_changes_nothing_for_ten_minutes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> tuple[list[JobStatus | str], Watch]:
        driver = driver_of(LISTING, poll=0.15, lost_after=0, lost_polls=1)
        write(tmp_path, "1|R|pf-1")
        heard: list[JobStatus | str] = []
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, tell_to(heard))
            await asyncio.sleep(0.6)
            write(tmp_path)
            (tmp_path / "down").touch()
            before = len(times(tmp_path))
            await asyncio.sleep(3)

            assert not watch.ended.done()
            assert watch.status.state is JobState.RUNNING
            assert 2 <= len(times(tmp_path)) - before <= 7

            write(tmp_path, "1|R|pf-1")
            (tmp_path / "down").unlink()
            watcher.hurry(watch)
            await asyncio.sleep(0.5)
            return heard, watch

    with caplog.at_level(logging.WARNING, LOG.name):
        heard, _ = asyncio.run(scenario())

    assert [str(news).splitlines()[0].partition(":")[0] for news in heard] == [
        "R",
        "The state of the job is unknown for now",
        "The infrastructure answers again.",
    ]
    assert len(caplog.messages) == 2
    assert "no route to the controller" in caplog.messages[0]
    assert caplog.messages[1] == "listing: the infrastructure answers again."


@pytest.mark.usefixtures("soon")
def test_a_job_submitted_after_an_outage_shows_that_it_is_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "down").touch()
        write(tmp_path)
        driver = driver_of(LISTING, poll=60)
        heard: list[JobStatus | str] = []
        async with Watcher(LOG) as watcher:
            first = watcher.watch(a_job(tmp_path, 1), driver, print)
            await asyncio.sleep(0.4)
            (tmp_path / "down").unlink()
            write(tmp_path, "1|CD|pf-1", "2|R|pf-2")
            watcher.watch(a_job(tmp_path, 2), driver, tell_to(heard))
            await ended(first, 1)

        assert str(heard[0]).startswith("The state of the job is unknown for now: listing: status: exit code 1")
        assert heard[1:] == ["The infrastructure answers again.", JobStatus(JobState.RUNNING, "R")]

    asyncio.run(scenario())


@pytest.mark.usefixtures("soon")
def test_a_job_is_lost_only_after_enough_healthy_answers_and_seconds(tmp_path: Path) -> None:
    async def scenario() -> None:
        driver = driver_of(LISTING, poll=0.1, lost_after=1.0, lost_polls=3)
        write(tmp_path, "2|R|pf-2")
        async with Watcher(LOG) as watcher:
            begin = time.monotonic()
            watch = watcher.watch(a_job(tmp_path), driver, print)
            lost = await ended(watch)

            assert time.monotonic() - begin >= 1.0
            assert lost == JobStatus(JobState.ABSENT)

            rare = driver_of(LISTING, poll=0.1, lost_after=0, lost_polls=5)
            asked = len(times(tmp_path))
            await ended(watcher.watch(a_job(tmp_path), rare, print))

            assert len(times(tmp_path)) - asked == 5

    asyncio.run(scenario())


@pytest.mark.usefixtures("soon")
def test_an_absence_between_two_sightings_is_forgotten_and_the_last_word_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        driver = driver_of(LISTING, poll=0.1, lost_after=0, lost_polls=4)
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, print)
            for lines in ([], ["1|R|pf-1"], [], ["1|R|pf-1"]):
                await asyncio.sleep(0.2)
                write(tmp_path, *lines)
            await asyncio.sleep(0.3)

            assert not watch.ended.done()
            assert watch.absences == 0

            write(tmp_path)
            assert await ended(watch) == JobStatus(JobState.ABSENT, "R")

    asyncio.run(scenario())


@pytest.mark.usefixtures("soon")
def test_a_job_that_is_not_visible_yet_is_not_lost_even_when_somebody_waits_for_its_end(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        driver = driver_of(LISTING, poll=0.1, lost_after=0, lost_polls=1, visible_after=0.8)
        write(tmp_path)
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path, born=time.monotonic()), driver, print)
            watcher.hurry(watch)
            await asyncio.sleep(0.6)

            assert not watch.ended.done()
            assert (await ended(watch)).state is JobState.ABSENT

    asyncio.run(scenario())


@pytest.mark.usefixtures("soon")
def test_a_failing_command_of_one_job_does_not_slow_down_or_silence_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        write(tmp_path, "2|R|pf-2", name="list.2")  # there is no list.1
        text = ONE_BY_ONE.replace('cat "list.$job_id"', 'cat "list.$job_id" || exit')
        driver = driver_of(text, poll=0.1)
        bad: list[JobStatus | str] = []
        good: list[JobStatus | str] = []
        async with Watcher(LOG) as watcher:
            watcher.watch(a_job(tmp_path, 1), driver, tell_to(bad))
            watch = watcher.watch(a_job(tmp_path, 2), driver, tell_to(good))
            await asyncio.sleep(1)
            asked = times(tmp_path)

            assert len(asked) > 6
            assert good == [JobStatus(JobState.RUNNING, "R")]
            assert [str(news)[:24] for news in bad] == ["The state of the job is "]

            write(tmp_path, "2|CD|pf-2", name="list.2")
            await ended(watch, 1)

    with caplog.at_level(logging.WARNING, LOG.name):
        asyncio.run(scenario())

    assert len(caplog.messages) == 1


@pytest.mark.usefixtures("soon")
def test_old_jobs_with_commands_of_their_own_are_not_asked_about_because_one_is_new(tmp_path: Path) -> None:
    async def scenario() -> None:
        driver = driver_of(ONE_BY_ONE, poll=30)
        for number in range(1, 21):
            write(tmp_path, f"{number}|R|pf-{number}", name=f"list.{number}")
        async with Watcher(LOG) as watcher:
            watches = [watcher.watch(a_job(tmp_path, n), driver, print) for n in range(1, 20)]
            await asyncio.sleep(1)
            for watch in watches:
                watch.changed -= 3600
            await asyncio.sleep(1)
            before = len(times(tmp_path))
            watcher.hurry(watcher.watch(a_job(tmp_path, 20), driver, print))
            await asyncio.sleep(1)

            assert 3 <= len(times(tmp_path)) - before <= 25

    asyncio.run(scenario())


@pytest.mark.usefixtures("soon")
def test_news_that_cannot_be_passed_on_do_not_hide_the_end_of_any_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def tell(_: object) -> None:
        raise RuntimeError("the log is full")

    async def scenario() -> None:
        write(tmp_path, "1|CD|pf-1", "2|CD|pf-2")
        driver = driver_of(LISTING)
        async with Watcher(LOG) as watcher:
            watches = [watcher.watch(a_job(tmp_path, n), driver, tell) for n in (1, 2)]
            assert [(await ended(watch)).state for watch in watches] == [JobState.SUCCEEDED] * 2

    asyncio.run(scenario())

    assert caplog.messages == [f"The news of job listing:///{n}?key=pf-{n} could not be passed on." for n in (1, 2)]


@pytest.mark.usefixtures("soon")
def test_two_watches_of_one_job_both_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        write(tmp_path, "1|CD|pf-1")
        driver = driver_of(LISTING)
        async with Watcher(LOG) as watcher:
            first, second = (watcher.watch(a_job(tmp_path), driver, print) for _ in range(2))
            await ended(first)
            await ended(second)

            assert len(times(tmp_path)) == 1

    asyncio.run(scenario())


@pytest.mark.usefixtures("soon")
def test_an_id_that_was_given_to_another_job_ends_nothing_and_is_remarked_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        write(tmp_path, "1|CD|pf-other")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING, poll=0.1), print)
            await asyncio.sleep(1)

            assert not watch.ended.done()
            assert watch.foreign

    asyncio.run(scenario())

    assert len(caplog.messages) == 1
    assert "carries the key 'pf-other', not 'pf-1'" in caplog.messages[0]


@pytest.mark.usefixtures("soon")
def test_a_job_whose_id_was_given_to_another_after_it_had_answered_to_its_key_is_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            driver = driver_of(LISTING, poll=0.1, lost_polls=3, lost_after=0.5)
            watch = watcher.watch(a_job(tmp_path), driver, print)
            await asyncio.sleep(0.5)
            assert watch.ours
            write(tmp_path, "1|CD|pf-other")
            changed = time.monotonic()

            assert (await ended(watch)).state is JobState.ABSENT
            assert time.monotonic() - changed >= 0.5

    asyncio.run(scenario())


@pytest.mark.usefixtures("soon")
def test_an_unlisted_word_ends_nothing_and_is_remarked_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        write(tmp_path, "1|LEVITATING|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING, poll=0.1), print)
            await asyncio.sleep(0.6)

            assert not watch.ended.done()
            assert watch.seen > 0

    asyncio.run(scenario())

    remark = "the state 'LEVITATING' is not listed in the recipe's states; it is taken as unknown until it is."

    assert caplog.messages == [f"listing: status: {remark}"]


@pytest.mark.usefixtures("soon")
def test_leaving_stops_polling_and_leaves_watches_unresolved(tmp_path: Path) -> None:
    async def scenario() -> None:
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING), print)
            await asyncio.sleep(0.3)
        asked = len(times(tmp_path))
        await asyncio.sleep(0.3)

        assert len(times(tmp_path)) == asked
        assert not watch.ended.done()

    asyncio.run(scenario())


@pytest.mark.usefixtures("soon")
def test_a_forgotten_job_is_not_asked_about(tmp_path: Path) -> None:
    async def scenario() -> None:
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING), print)
            watcher.forget(watch)
            watcher.forget(watch)
            await asyncio.sleep(0.3)

            assert times(tmp_path) == []
            assert watcher.watches == []

    asyncio.run(scenario())
