"""The polling loop against small real programs, in simulated time: what it decides, and when by its clock."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from generic_worker.job import Job, JobState, JobStatus
from generic_worker.jobs import clock
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from generic_worker.jobs.status_report import StatusReport
    from generic_worker.jobs.watches import Watch

LOG = logging.getLogger("test.watcher")

LISTING = """
recipe: 1
name: listing
submit: {run: [echo, '1'], output: {regex: '(?P<id>.+)'}}
status:
  run: |
    cd "$place"
    echo >>asked
    cat list
    [ ! -e down ] || { echo "no route to the controller" >&2; exit 1; }
  output: {columns: [id, state, key], separator: '|'}
cancel: {run: ['true']}
variables: {place: {type: string}}
states: {pending: [PD], running: [R], succeeded: [CD], failed: [F], cancelled: [CA]}
"""

ONE_BY_ONE = LISTING.replace("cat list", 'cat "list.$job_id" || exit').replace("name: listing", "name: one-by-one")


class Asked(Driver):
    """A driver that remembers when it was asked about which jobs, by the clock."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.queries: list[tuple[float, list[str]]] = []

    async def status(self, jobs: Iterable[Job]) -> StatusReport:
        jobs = list(jobs)
        self.queries.append((clock.now(), [job.id for job in jobs]))
        return await super().status(jobs)

    def times(self, number: int = 1) -> list[float]:
        """When it was asked about a job."""
        return [time for time, ids in self.queries if str(number) in ids]

    def pauses(self, number: int = 1) -> list[float]:
        """Seconds between the queries about a job."""
        return [later - earlier for earlier, later in pairwise(self.times(number))]


@pytest.fixture
def driver_of(timeless):
    def make(text: str, **policy: float) -> Asked:
        recipe = load(text).recipe
        return Asked(recipe.model_copy(update={"policy": recipe.policy.model_copy(update=policy)}), timeless)

    return make


def a_job(place: Path, number: int = 1, *, born: float = -1000.0) -> Job:
    return Job(f"pf-{number}", {"place": str(place)}, "listing", id=str(number), born=born)


def tell_to(heard: list[JobStatus | str]) -> Callable[[JobStatus | str], None]:
    return heard.append


def commands(place: Path) -> int:
    """How many status commands were run."""
    return len((place / "asked").read_text().splitlines()) if (place / "asked").exists() else 0


def write(place: Path, *lines: str, name: str = "list"):
    (place / name).write_text("".join(f"{line}\n" for line in lines))


async def ended(watch: Watch, seconds: float = 600) -> JobStatus:
    return await asyncio.wait_for(asyncio.shield(watch.ended), seconds)


def test_one_status_command_per_poll_serves_many_jobs_and_their_ends_are_told_apart(tmp_path, simulated, driver_of):
    async def scenario():
        driver = driver_of(LISTING)
        write(tmp_path, *(f"{n}|R|pf-{n}" for n in range(500)))
        async with Watcher(LOG) as watcher:
            watches = [watcher.watch(a_job(tmp_path, n), driver, print) for n in range(500)]
            await asyncio.sleep(2.5)

            assert commands(tmp_path) == 2
            assert {watch.status.state for watch in watches} == {JobState.RUNNING}

            write(tmp_path, *(f"{n}|{'F' if n % 2 else 'CD'}|pf-{n}" for n in range(500)))
            states = [(await ended(watch)).state for watch in watches]

            assert states == [JobState.SUCCEEDED, JobState.FAILED] * 250
            assert watcher.watches == []

    simulated(scenario())


def test_reasons_that_take_turns_are_told_once_each(tmp_path, simulated, driver_of):
    async def scenario():
        heard = []
        driver = driver_of(LISTING.replace("[id, state, key]", "[id, state, key, reason]"), poll=1)
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, tell_to(heard))
            for reason in ["pull", "back-off", "pull", "back-off"]:
                write(tmp_path, f"1|PD|pf-1|{reason}")
                await asyncio.sleep(3)
            for line in ["1|R|pf-1|", "1|PD|pf-1|pull"]:
                write(tmp_path, line)
                await asyncio.sleep(3)
            assert watch.status.reason == "pull"
        assert list(map(str, heard)) == ["PD (pull)", "PD (back-off)", "R", "PD (pull)"]

    simulated(scenario())


def test_a_new_job_is_asked_about_every_second_and_its_end_is_known_within_one(tmp_path, simulated, driver_of):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        driver = driver_of(LISTING)
        async with Watcher(LOG) as watcher:
            begin = clock.now()
            watch = watcher.watch(a_job(tmp_path), driver, print)
            await asyncio.sleep(20)

            assert driver.times()[0] - begin == pytest.approx(1)
            assert all(0.9 <= pause <= 1.0 for pause in driver.pauses())

            write(tmp_path, "1|CD|pf-1")
            await ended(watch, 1)

    simulated(scenario())


def test_a_job_is_asked_about_with_jitter_and_soon_again_when_somebody_waits_for_its_end(
    tmp_path, simulated, driver_of
):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        driver = driver_of(LISTING, poll=20)
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, print)
            await asyncio.sleep(1.5)
            watch.changed -= 3600
            await asyncio.sleep(300)
            pauses = driver.pauses()[1:]

            assert all(18 <= pause <= 20 for pause in pauses)
            assert len(set(pauses)) == len(pauses) > 10

            watcher.hurry(watch)
            await asyncio.sleep(10)

            assert all(0.9 <= pause <= 1.0 for pause in driver.pauses()[-8:])

    simulated(scenario())


@pytest.mark.parametrize(("seconds", "pause", "hurried"), [(0.5, 5, 1), (1.2, 12, 1.2), (4, 15, 4)])
def test_status_commands_that_take_long_are_run_less_often(
    tmp_path, simulated, driver_of, timeless, seconds, pause, hurried
):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        driver = driver_of(LISTING)
        timeless.seconds = seconds
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, print)
            await asyncio.sleep(50)

            assert all(0.9 * pause <= found <= pause for found in driver.pauses())
            assert len(driver.pauses()) >= 3

            watcher.hurry(watch)
            await asyncio.sleep(20)

            assert all(0.9 * hurried <= found <= hurried for found in driver.pauses()[-3:])

    simulated(scenario())


def test_a_scheduler_that_does_not_answer_changes_nothing_for_ten_minutes(
    tmp_path, simulated, driver_of, caplog: pytest.LogCaptureFixture
):
    heard: list[JobStatus | str] = []

    async def scenario():
        driver = driver_of(LISTING, lost_after=0, lost_polls=1)
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, tell_to(heard))
            await asyncio.sleep(5)
            write(tmp_path)
            (tmp_path / "down").touch()
            before = len(driver.times())
            await asyncio.sleep(600)

            assert not watch.ended.done()
            assert watch.status.state is JobState.RUNNING
            longest = [15, 30, 60, 120, 240]
            pauses = driver.pauses()[before:]
            assert len(pauses) == len(longest)
            assert all(0.9 * most <= pause <= most for pause, most in zip(pauses, longest, strict=True))

            write(tmp_path, "1|R|pf-1")
            (tmp_path / "down").unlink()
            watcher.hurry(watch)
            await asyncio.sleep(1.1)

    with caplog.at_level(logging.WARNING, LOG.name):
        simulated(scenario())

    assert [str(news).splitlines()[0].partition(":")[0] for news in heard] == [
        "R",
        "The state of the job is unknown for now",
        "The infrastructure answers again.",
    ]
    assert heard[1] == (
        "The state of the job is unknown for now: listing: status: exit code 1: no route to the controller"
    )
    assert len(caplog.messages) == 2
    assert "no route to the controller" in caplog.messages[0]
    assert "cat list" in caplog.messages[0]
    assert caplog.messages[1] == "listing: the infrastructure answers again."


def test_a_command_that_fails_and_leaves_nothing_unanswered_is_no_outage(tmp_path, simulated, driver_of, caplog):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        (tmp_path / "down").touch()
        async with Watcher(LOG) as watcher:
            watcher.watch(a_job(tmp_path), driver_of(LISTING), print)
            await asyncio.sleep(100)

    with caplog.at_level(logging.WARNING, LOG.name):
        simulated(scenario())

    assert caplog.messages == []


def test_a_job_submitted_after_an_outage_shows_that_it_is_over(tmp_path, simulated, driver_of):
    async def scenario():
        (tmp_path / "down").touch()
        write(tmp_path)
        driver = driver_of(LISTING, poll=60)
        heard: list[JobStatus | str] = []
        async with Watcher(LOG) as watcher:
            first = watcher.watch(a_job(tmp_path, 1), driver, print)
            await asyncio.sleep(10)
            (tmp_path / "down").unlink()
            write(tmp_path, "1|CD|pf-1", "2|R|pf-2")
            watcher.watch(a_job(tmp_path, 2), driver, tell_to(heard))
            await ended(first, 1.1)

        assert str(heard[0]).startswith("The state of the job is unknown for now: listing: status: exit code 1")
        assert heard[1:] == ["The infrastructure answers again.", JobStatus(JobState.RUNNING, "R")]

    simulated(scenario())


def test_a_job_is_lost_only_after_enough_healthy_answers_and_seconds(tmp_path, simulated, driver_of):
    async def scenario():
        driver = driver_of(LISTING, lost_after=20, lost_polls=3)
        write(tmp_path, "2|R|pf-2")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, print)
            lost = await ended(watch)

            assert 20 <= clock.now() - driver.times()[0] <= 22
            assert lost == JobStatus(JobState.ABSENT)

            rare = driver_of(LISTING, lost_after=0, lost_polls=5)
            await ended(watcher.watch(a_job(tmp_path), rare, print))

            assert len(rare.times()) == 5

    simulated(scenario())


def test_where_a_tool_lists_no_job_that_has_ended_one_answer_without_it_is_its_end(tmp_path, simulated, driver_of):
    async def scenario():
        driver, heard = driver_of(LISTING, absent="ended", visible_after=10), []
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, tell_to(heard))
            await asyncio.sleep(60)
            (tmp_path / "down").touch()
            write(tmp_path)
            await asyncio.sleep(600)

            assert not watch.ended.done()

            (tmp_path / "down").unlink()
            assert await ended(watch) == JobStatus(JobState.FINISHED, "gone")
            assert heard[-1] == JobStatus(JobState.FINISHED, "gone")
            assert watch.absences == 0

            born = clock.now()
            new = watcher.watch(a_job(tmp_path, 2, born=born), driver, tell_to(heard))
            await ended(new)
            assert clock.now() - born >= 10

    simulated(scenario())


def test_an_absence_between_two_sightings_is_forgotten_and_the_last_word_is_kept(tmp_path, simulated, driver_of):
    async def scenario():
        driver = driver_of(LISTING, lost_after=0, lost_polls=4)
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, print)
            for lines in ([], ["1|R|pf-1"], [], ["1|R|pf-1"]):
                await asyncio.sleep(2.5)
                write(tmp_path, *lines)
                assert (watch.absences in {2, 3}) if lines else (watch.absences == 0)
            await asyncio.sleep(2.5)

            assert not watch.ended.done()
            assert watch.absences == 0

            write(tmp_path)
            assert await ended(watch) == JobStatus(JobState.ABSENT, "R")

    simulated(scenario())


def test_a_job_that_is_not_visible_yet_is_not_lost_even_when_somebody_waits_for_its_end(tmp_path, simulated, driver_of):
    async def scenario():
        driver = driver_of(LISTING, lost_after=0, lost_polls=1, visible_after=30)
        write(tmp_path)
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path, born=clock.now()), driver, print)
            watcher.hurry(watch)
            status = await ended(watch)

            assert status.state is JobState.ABSENT
            assert 30 <= clock.now() - watch.job.born <= 31

    simulated(scenario())


def test_a_failing_command_of_one_job_does_not_slow_down_or_silence_the_others(
    tmp_path, simulated, driver_of, caplog: pytest.LogCaptureFixture
):
    async def scenario():
        write(tmp_path, "2|R|pf-2", name="list.2")  # there is no list.1
        driver = driver_of(ONE_BY_ONE)
        bad: list[JobStatus | str] = []
        good: list[JobStatus | str] = []
        async with Watcher(LOG) as watcher:
            watcher.watch(a_job(tmp_path, 1), driver, tell_to(bad))
            watch = watcher.watch(a_job(tmp_path, 2), driver, tell_to(good))
            await asyncio.sleep(20)

            assert all(0.9 <= pause <= 1.0 for pause in driver.pauses(2))
            assert len(driver.times(1)) == 2
            assert good == [JobStatus(JobState.RUNNING, "R")]
            assert [str(news)[:24] for news in bad] == ["The state of the job is "]

            write(tmp_path, "2|CD|pf-2", name="list.2")
            await ended(watch, 1)

    with caplog.at_level(logging.WARNING, LOG.name):
        simulated(scenario())

    assert len(caplog.messages) == 1


def test_old_jobs_with_commands_of_their_own_are_not_asked_about_because_one_is_new(tmp_path, simulated, driver_of):
    async def scenario():
        driver = driver_of(ONE_BY_ONE, poll=30)
        for number in range(1, 7):
            write(tmp_path, f"{number}|R|pf-{number}", name=f"list.{number}")
        async with Watcher(LOG) as watcher:
            watches = [watcher.watch(a_job(tmp_path, n), driver, print) for n in range(1, 6)]
            await asyncio.sleep(1.5)
            for watch in watches:
                watch.changed -= 3600
            await asyncio.sleep(1)
            before = commands(tmp_path)
            watcher.hurry(watcher.watch(a_job(tmp_path, 6), driver, print))
            await asyncio.sleep(20)

            assert len(driver.times(6)) >= 20
            assert commands(tmp_path) - before == len(driver.times(6))

    simulated(scenario())


def test_news_that_cannot_be_passed_on_do_not_hide_the_end_of_any_job(
    tmp_path, simulated, driver_of, caplog: pytest.LogCaptureFixture
):
    def tell(_: object):
        raise RuntimeError("the log is full")

    async def scenario():
        write(tmp_path, "1|CD|pf-1", "2|CD|pf-2")
        driver = driver_of(LISTING)
        async with Watcher(LOG) as watcher:
            watches = [watcher.watch(a_job(tmp_path, n), driver, tell) for n in (1, 2)]
            assert [(await ended(watch)).state for watch in watches] == [JobState.SUCCEEDED] * 2

    simulated(scenario())

    assert caplog.messages == [f"The news of job listing:///{n}?key=pf-{n} could not be passed on." for n in (1, 2)]


def test_two_watches_of_one_job_both_end(tmp_path, simulated, driver_of):
    async def scenario():
        write(tmp_path, "1|CD|pf-1")
        driver = driver_of(LISTING)
        async with Watcher(LOG) as watcher:
            first, second = (watcher.watch(a_job(tmp_path), driver, print) for _ in range(2))
            await ended(first)
            await ended(second)

            assert commands(tmp_path) == 1

    simulated(scenario())


def test_an_id_that_was_given_to_another_job_ends_nothing_and_is_remarked_once(
    tmp_path, simulated, driver_of, caplog: pytest.LogCaptureFixture
):
    async def scenario():
        write(tmp_path, "1|CD|pf-other")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING), print)
            await asyncio.sleep(20)

            assert not watch.ended.done()
            assert watch.foreign

    simulated(scenario())

    assert len(caplog.messages) == 1
    assert "carries the key 'pf-other', not 'pf-1'" in caplog.messages[0]


def test_a_job_whose_id_was_given_to_another_after_it_had_answered_to_its_key_is_lost(tmp_path, simulated, driver_of):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING, lost_polls=3, lost_after=20), print)
            await asyncio.sleep(5)
            assert watch.ours
            write(tmp_path, "1|CD|pf-other")
            changed = clock.now()

            assert (await ended(watch)).state is JobState.ABSENT
            assert 20 <= clock.now() - changed <= 22

    simulated(scenario())


def test_an_unlisted_word_ends_nothing_and_is_remarked_once(
    tmp_path, simulated, driver_of, caplog: pytest.LogCaptureFixture
):
    async def scenario():
        write(tmp_path, "1|LEVITATING|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING), print)
            await asyncio.sleep(20)

            assert not watch.ended.done()
            assert watch.seen > 0

    simulated(scenario())

    remark = "the state 'LEVITATING' is not listed in the recipe's states; it is taken as unknown until it is."

    assert caplog.messages == [f"listing: status: {remark}"]


def test_leaving_stops_polling_and_leaves_watches_unresolved(tmp_path, simulated, driver_of):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING), print)
            await asyncio.sleep(5)
        asked = commands(tmp_path)
        await asyncio.sleep(600)

        assert commands(tmp_path) == asked > 0
        assert not watch.ended.done()

    simulated(scenario())


def test_a_forgotten_job_is_not_asked_about(tmp_path, simulated, driver_of):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver_of(LISTING), print)
            watcher.forget(watch)
            watcher.forget(watch)
            await asyncio.sleep(600)

            assert commands(tmp_path) == 0
            assert watcher.watches == []

    simulated(scenario())


def test_of_many_oddities_a_thousand_are_told_and_none_again_at_the_next_poll(tmp_path, simulated, driver_of, caplog):
    async def scenario():
        driver = driver_of(LISTING)
        write(tmp_path, *(f"{n}|R|other-{n}" for n in range(1500)))
        async with Watcher(LOG) as watcher:
            for n in range(1500):
                watcher.watch(a_job(tmp_path, n), driver, print)
            await asyncio.sleep(10)

            assert commands(tmp_path) >= 9

    with caplog.at_level(logging.WARNING, LOG.name):
        simulated(scenario())

    assert len(caplog.messages) == 1001
    assert caplog.messages[-1] == "listing: status: there is more that is odd; it is not told before a day has passed."
