"""How often a job is asked about, alone and together with others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from generic_worker.job import Job
from generic_worker.jobs import clock, turns
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watches import Infrastructure, Watch, WatchGroup
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable

RECIPE = {
    "recipe": 1,
    "name": "test",
    "submit": {"run": ["submit"], "output": {"columns": ["id"]}},
    "status": {"run": ["list"], "output": {"columns": ["id", "state"]}},
    "cancel": {"run": ["stop", "${job_id}"]},
    "states": {"running": ["R"], "succeeded": ["CD"]},
    "policy": {"poll": 15, "lost_after": 60, "lost_polls": 6},
}


@pytest.fixture
def group(timeless) -> Callable[..., WatchGroup]:
    """A group of jobs whose states last changed so many seconds ago."""

    def make(*ages: float) -> WatchGroup:
        driver = Driver(load(RECIPE).recipe, timeless)
        found = WatchGroup(1, driver, Infrastructure())
        for number, age in enumerate(ages):
            ended = asyncio.get_running_loop().create_future()
            watch = Watch(Job(f"pf-{number}", {}, "test", id=str(number)), driver, 1, ended, print)
            watch.changed = clock.now() - age
            found.watches[watch] = None
        return found

    return make


def test_who_asks_for_a_query_while_the_next_one_is_being_set_gets_it(simulated, group, monkeypatch):
    monkeypatch.setattr(turns, "_SECONDS", -1.0)

    async def scenario() -> None:
        some = group(1000, 1000, 1000)
        setting = asyncio.create_task(some.schedule())
        await asyncio.sleep(0)
        some.ask_soon()
        await setting

        assert some.due - clock.now() <= 1

    simulated(scenario())


def waits(simulated: Any, make: Callable[[], WatchGroup]) -> float:
    """Seconds until a group is due, without the jitter: the longest of many answers."""

    async def scenario() -> float:
        group, found = make(), []
        for _ in range(200):
            await group.schedule()
            found.append(group.due - clock.now())
        assert min(found) >= 0.9 * max(found)
        return max(found)

    return simulated(scenario())


@pytest.mark.parametrize(("age", "seconds"), [(1, 1), (30, 1), (60, 2), (300, 10), (450, 15), (86400, 15)])
def test_the_interval_grows_with_age_up_to_the_policy(simulated, group, age, seconds):
    async def scenario():
        (watch,) = group(age).watches
        assert watch.interval(clock.now()) == pytest.approx(seconds)
        watch.absences = 1
        assert watch.interval(clock.now()) == pytest.approx(min(seconds, 10)), "or it would not be lost in time"
        watch.hurry = True
        assert watch.interval(clock.now()) == 1

    simulated(scenario())


def test_the_job_that_is_due_first_decides_for_all_of_its_group(simulated, group):
    assert waits(simulated, lambda: group(86400, 120, 86400)) == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize(
    ("failures", "hurry", "seconds"),
    [(1, False, 15), (2, False, 30), (3, False, 60), (6, False, 300), (60, False, 300), (60, True, 15)],
)
def test_what_does_not_answer_is_asked_less_and_less_unless_somebody_waits(simulated, group, failures, hurry, seconds):
    def failing():
        found = group(86400)
        found.failures = failures
        next(iter(found.watches)).hurry = hurry
        return found

    assert waits(simulated, failing) == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize(
    ("all_groups", "own", "hurry", "seconds"),
    [(0.05, 0.05, False, 1), (0.5, 0.1, False, 5), (3, 3, False, 15), (3, 3, True, 3), (3, 0.2, True, 1)],
)
def test_commands_that_take_long_are_run_less_often(simulated, group, all_groups, own, hurry, seconds):
    def slow():
        found = group(1)
        found.infrastructure.seconds, found.seconds = all_groups, own
        next(iter(found.watches)).hurry = hurry
        return found

    assert waits(simulated, slow) == pytest.approx(seconds, rel=0.02)


def test_a_group_waits_until_it_is_due_or_is_to_ask_sooner_or_has_no_jobs_left(simulated, group):
    async def scenario():
        found, begin = group(1), clock.now()
        found.due = begin + 100
        loop = asyncio.get_running_loop()
        loop.call_later(10, found.ask_soon)
        await found.until_due()
        assert clock.now() - begin == pytest.approx(11)

        found.due = clock.now() + 100
        loop.call_later(10, found.watches.clear)
        loop.call_later(10, found.moved.set)
        await found.until_due()
        assert clock.now() - begin == pytest.approx(21)

    simulated(scenario())
