"""What a watch command changes, in simulated time: when jobs are asked about, and that nothing else follows from it.

Its lines are given by the test, and status commands are real programs; that real ones are heard is in `test_listening`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from itertools import pairwise

import pytest

from generic_worker.commands.runner import Command, CommandRunner
from generic_worker.job import Job, JobState
from generic_worker.jobs import clock
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

LOG = logging.getLogger("test.streams")
RECIPE = """
recipe: 1
name: events
variables: {place: {type: string}}
submit: {run: [echo, '1'], output: {regex: '(?P<id>.+)'}}
status:
  run: cat "$place/list"
  output: {columns: [id, state, key], separator: '|'}
watch:
  run: [follow, '${place}']
  output: {regex: '^changed (?P<id>\\w+)$'}
cancel: {run: ['true']}
states: {running: [R], succeeded: [CD], failed: [F]}
policy: {poll: 15}
"""
ONE_BY_ONE = RECIPE.replace('"$place/list"', '"$place/list" && true "$job_id"')


def sh(script: str) -> Command:
    return Command(("/bin/sh", "-c", script))


class Feeds:
    """Gives a driver's watch commands what they print, and ends them; by the clock, when each was started."""

    def __init__(self, runner, monkeypatch):
        self.started: list[float] = []
        self.open: list[tuple] = []
        self.broken = False
        self.result = None
        self.runner = runner
        monkeypatch.setattr(runner, "listen", self._listen)

    async def _listen(self, _command, hear, _stream):
        self.started.append(clock.now())
        if self.broken:
            return await self.runner.run(sh("echo forbidden >&2; exit 1"))
        feed = (hear, asyncio.get_running_loop().create_future())
        self.open.append(feed)
        try:
            return await feed[1]
        finally:
            self.open.remove(feed)

    def says(self, text: str):
        for hear, _ in self.open:
            hear(text.encode())

    async def end(self):
        result = await self.runner.run(sh("exit 1"))
        for _, ended in list(self.open):
            ended.set_result(result)


class Asked(Driver):
    """A driver that remembers when it was asked about which jobs."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.queries: list[tuple[float, list[str]]] = []

    async def status(self, jobs):
        jobs = list(jobs)
        self.queries.append((clock.now(), [job.id for job in jobs]))
        return await super().status(jobs)

    def since(self, moment: float, number: int = 1) -> list[float]:
        """Seconds from a moment to each query about a job since."""
        return [round(time - moment, 2) for time, ids in self.queries if time >= moment and str(number) in ids]


@pytest.fixture
def events(timeless, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)  # so all can be foreseen

    def make(text: str = RECIPE) -> tuple[Asked, Feeds]:
        return Asked(load(text).recipe, timeless), Feeds(timeless, monkeypatch)

    return make


def a_job(place, number: int = 1) -> Job:
    return Job(f"pf-{number}", {"place": str(place)}, "events", id=str(number), born=-1000.0)


def write(place, *lines: str):
    (place / "list").write_text("".join(f"{line}\n" for line in lines))


def test_a_young_job_is_asked_about_every_poll_only_and_at_once_when_a_line_names_it(tmp_path, simulated, events):
    async def scenario():
        write(tmp_path, "1|R|pf-1", "2|R|pf-2")
        driver, feeds = events(ONE_BY_ONE)
        async with Watcher(LOG) as watcher:
            watch, other = (watcher.watch(a_job(tmp_path, number), driver, print) for number in (1, 2))
            await asyncio.sleep(30)
            quiet = clock.now()
            await asyncio.sleep(60)

            assert len(driver.since(quiet)) in {4, 5}

            write(tmp_path, "1|CD|pf-1", "2|CD|pf-2")
            await asyncio.sleep(0.5)
            told = clock.now()
            feeds.says("changed 1\n")
            status = await asyncio.wait_for(asyncio.shield(watch.ended), 20)

            assert status.state is JobState.SUCCEEDED
            assert clock.now() - told < 0.1
            assert not other.ended.done()

    simulated(scenario())


def test_what_a_line_says_is_never_an_answer(tmp_path, simulated, events):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        driver, feeds = events()
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, print)
            await asyncio.sleep(30)
            for text in ("changed 1\n", "changed 99\n", "1|CD|pf-1\n", "\x00\xff\n", "no such job: 1\n", "chang"):
                feeds.says(text)
                await asyncio.sleep(5)

            assert watch.status.state is JobState.RUNNING
            assert not watch.ended.done()

    simulated(scenario())


def test_only_a_line_that_cannot_be_read_is_about_all_jobs(tmp_path, simulated, events):
    async def scenario():
        write(tmp_path, "1|R|pf-1", "2|R|pf-2")
        driver, feeds = events(ONE_BY_ONE)
        async with Watcher(LOG) as watcher:
            for number in (1, 2):
                watcher.watch(a_job(tmp_path, number), driver, print)
            await asyncio.sleep(30)
            answers = []
            for text in ("changed 2\n", "changed 99\n", "hello\n"):
                told = clock.now()
                feeds.says(text)
                await asyncio.sleep(0.01)
                answers.append([sum(name in ids for time, ids in driver.queries if time >= told) for name in "12"])
                await asyncio.sleep(40)

            assert answers == [[0, 1], [0, 0], [1, 1]]

    simulated(scenario())


def test_a_job_of_which_a_line_tells_before_the_status_does_is_asked_about_again_soon(tmp_path, simulated, events):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        driver, feeds = events()
        async with Watcher(LOG) as watcher:
            watcher.watch(a_job(tmp_path), driver, print)
            await asyncio.sleep(30)
            told = clock.now()
            feeds.says("changed 1\n")
            await asyncio.sleep(15)
            times = driver.since(told)

            assert len(times) in {5, 6}
            assert times[0] == 0
            assert 0.9 <= times[1] <= 1.1
            assert all(later >= earlier * 0.9 for earlier, later in pairwise(b - a for a, b in pairwise(times)))

    simulated(scenario())


def test_lines_without_end_make_it_ask_no_more_than_ten_times_its_cost_allows(tmp_path, simulated, events, timeless):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        timeless.seconds = 0.2
        driver, feeds = events()
        async with Watcher(LOG) as watcher:
            watcher.watch(a_job(tmp_path), driver, print)
            await asyncio.sleep(30)
            begin = clock.now()
            for _ in range(400):
                feeds.says("hello\n" * 1000)
                await asyncio.sleep(0.25)

            assert 40 <= len(driver.since(begin)) <= 56

    simulated(scenario())


def test_lines_that_are_true_are_followed_by_a_query_after_as_long_as_one_takes(tmp_path, simulated, events, timeless):
    async def scenario():
        timeless.seconds, jobs = 0.3, range(1, 41)
        driver, feeds = events()
        write(tmp_path, *(f"{number}|R|pf-{number}" for number in jobs))
        async with Watcher(LOG) as watcher:
            watches = [watcher.watch(a_job(tmp_path, number), driver, print) for number in jobs]
            ends, late = {}, []
            for number, watch in zip(jobs, watches, strict=True):
                watch.ended.add_done_callback(lambda _, number=number: late.append(clock.now() - ends[number]))
            await asyncio.sleep(30)
            for number in jobs:
                await asyncio.sleep(0.3)
                write(tmp_path, *(f"{other}|{'CD' if other <= number else 'R'}|pf-{other}" for other in jobs))
                ends[number] = clock.now()
                feeds.says(f"changed {number}\n")
            await asyncio.sleep(5)

            assert len(late) == len(jobs)
            assert max(late) <= 0.6

    simulated(scenario())


def test_a_stream_that_ends_is_started_again_after_growing_pauses_and_meanwhile_young_jobs_are_asked_about(
    tmp_path, simulated, events, caplog
):
    async def scenario():
        write(tmp_path, "1|R|pf-1")
        driver, feeds = events()
        feeds.broken = True
        async with Watcher(LOG) as watcher:
            watch = watcher.watch(a_job(tmp_path), driver, print)
            await asyncio.sleep(1200)
            pauses = [later - earlier for earlier, later in pairwise(feeds.started)]

            assert 10 <= len(pauses) <= 13
            assert all(pause <= 300 for pause in pauses)
            assert pauses[0] <= 1
            assert pauses[-1] >= 200
            assert len(driver.since(clock.now() - 1190, 1)) > 100
            assert not watch.ended.done()

            feeds.broken = False
            await asyncio.sleep(330)
            quiet = clock.now()
            await asyncio.sleep(60)

            assert len(driver.since(quiet)) in {4, 5}

            await feeds.end()
            await asyncio.sleep(1.5)

            assert len(feeds.open) == 1

    with caplog.at_level(logging.INFO, LOG.name):
        simulated(scenario())

    assert [record.getMessage().partition(" after ")[0] for record in caplog.records] == [
        "events: watch: `/bin/sh -c 'echo forbidden >&2; exit 1'` exited 1"
    ]


class Repeating(Asked):
    """A driver whose status command is run once, and then only when it is to be; otherwise its answer is repeated."""

    report = None

    async def status(self, jobs):
        self.report = self.report or await super().status(jobs)
        return self.report


def test_a_stream_that_ends_at_once_a_thousand_times_ends_no_job_and_is_started_less_and_less(
    tmp_path, simulated, timeless, monkeypatch, caplog
):
    starts: list[float] = []

    async def scenario():
        write(tmp_path, "1|R|pf-1", "2|R|pf-2")
        ended = await timeless.run(sh("echo forbidden >&2; exit 1"))

        async def listen(_command, hear, _stream):
            starts.append(clock.now())
            hear(b"changed 1\nchanged 2\nno such job: 1\n2|CD|pf-2\n")
            return ended

        monkeypatch.setattr(timeless, "listen", listen)
        driver = Repeating(load(RECIPE).recipe, timeless)
        async with Watcher(LOG) as watcher:
            watches = [watcher.watch(a_job(tmp_path, number), driver, print) for number in (1, 2)]
            tasks = []
            while len(starts) < 1000:
                await asyncio.sleep(3600)
                tasks.append(len(asyncio.all_tasks()))

            assert [watch.status.state for watch in watches] == [JobState.RUNNING] * 2
            assert not any(watch.ended.done() for watch in watches)
            assert max(tasks) == tasks[0]

            write(tmp_path, "1|R|pf-1", "2|F|pf-2")
            driver.report = None
            status = await asyncio.wait_for(asyncio.shield(watches[1].ended), 20)

            assert status.state is JobState.FAILED
            assert not watches[0].ended.done()

    with caplog.at_level(logging.INFO, LOG.name):
        simulated(scenario())

    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert sum(start - starts[0] < 600 for start in starts) <= 11
    assert all(later >= earlier * 0.9 for earlier, later in pairwise(pauses))
    assert min(pauses[10:]) >= 270
    assert len(caplog.records) == 1


def test_jobs_share_a_stream_that_ends_some_time_after_the_last_of_them(tmp_path, simulated, events):
    async def scenario():
        write(tmp_path, "1|R|pf-1", "2|R|pf-2")
        driver, feeds = events()
        async with Watcher(LOG) as watcher:
            watches = [watcher.watch(a_job(tmp_path, number), driver, print) for number in (1, 2)]
            await asyncio.sleep(10)

            assert len(feeds.open) == 1

            watcher.forget(watches[0])
            await asyncio.sleep(100)

            assert len(feeds.open) == 1

            watcher.forget(watches[1])
            await asyncio.sleep(20)

            assert len(feeds.open) == 1

            await asyncio.sleep(20)

            assert feeds.open == []

            watcher.watch(a_job(tmp_path), driver, print)
            await asyncio.sleep(1)

            assert len(feeds.open) == 1

        assert feeds.open == []

    simulated(scenario())


def test_there_are_eight_streams_at_most_and_other_jobs_are_asked_about_as_without(tmp_path, simulated, events):
    async def scenario():
        driver, feeds = events()
        async with Watcher(LOG) as watcher:
            for number in range(12):
                place = tmp_path / str(number)
                place.mkdir()
                write(place, f"{number}|R|pf-{number}")
                watcher.watch(a_job(place, number), driver, print)
            await asyncio.sleep(10)
            begin = clock.now()
            await asyncio.sleep(10)

            assert len(feeds.started) == 8
            assert [len(driver.since(begin, number)) > 5 for number in (0, 7, 8, 11)] == [False, False, True, True]

    simulated(scenario())


LIES = {
    "jobs that do not exist": "while echo changed 99999; do sleep 0.01; done",
    "that a job has ended": "while echo '1|CD|pf-1'; do sleep 0.01; done",
    "a flood": "exec yes 'changed 1'",
    "a flood of nonsense": "exec yes 'nothing that can be read'",
    "binary": "exec cat /dev/urandom",
    "half lines": "while printf 'changed'; do sleep 0.01; done",
    "it ends at once": "echo changed 1",
}


def test_a_real_watch_that_lies_ends_no_job_and_is_heard_a_few_times_a_second(tmp_path):
    async def lied_to(lie: str, place) -> tuple[list[JobState], float]:
        place.mkdir()
        write(place, "1|R|pf-1", "2|R|pf-2")
        text = RECIPE.replace("[follow, '${place}']", json.dumps(lie))
        driver = Asked(load(text).recipe, CommandRunner())
        async with Watcher(LOG) as watcher:
            began = clock.now()
            watches = [watcher.watch(a_job(place, number), driver, print) for number in (1, 2)]
            deadline = began + 60
            while clock.now() < deadline and any(one.status.state != JobState.RUNNING for one in watches):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            await asyncio.sleep(3)
            often = len(driver.queries) / (clock.now() - began)
            return [watch.status.state for watch in watches if not watch.ended.done()], often

    async def scenario():
        return await asyncio.gather(*(lied_to(lie, tmp_path / str(number)) for number, lie in enumerate(LIES.values())))

    for lie, (states, often) in zip(LIES, asyncio.run(scenario()), strict=True):
        assert (lie, states) == (lie, [JobState.RUNNING] * 2)
        assert 0 < often < 5
