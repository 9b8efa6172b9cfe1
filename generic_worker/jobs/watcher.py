"""The one place that polls: every watched job, as few status commands as possible, and the end of each job.

It knows nothing of Prefect. It concludes nothing from silence: only a final state, or proof of absence often
and long enough, ends a watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from generic_worker.job import UNKNOWN, Job, JobState, JobStatus

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from generic_worker.jobs.driver import Driver, StatusReport

_SOONEST = 1.0
"""Seconds between the queries about a job that has just been submitted, or has just changed."""
_STEADY = 30.0
"""A job is asked about every `age / _STEADY` seconds, so that the end of a short job is noticed soon."""
_POLITE = 10.0
"""Status commands that take a second all together are not run more often than every ten seconds."""
_LONGEST = 300.0
"""Seconds between the queries of an infrastructure that does not answer, at most."""
_BREATH = 500
"""Answers that are taken in one go: passing on news takes time, and others have a turn in between."""
_REMARKS = 1000  # oddities that are remembered, because each is worth one warning


@dataclass(slots=True, eq=False)
class Watch:
    """One watched job.

    Attributes:
        job: The job.
        driver: How to ask about it.
        group: What it has in common with the jobs that are asked about together with it.
        ended: Resolves to the last status: a final one, or ABSENT when the job is lost.
        tell: Called with each new status, and with the text of a warning about this job.
        status: The last answer that was not unknown.
        changed: When the status last changed, in seconds of the monotonic clock.
        seen: When it was last shown alive, or in a state that we have no word for, likewise.
        ours: Whether some answer carried its key: then another key under its id means that it is gone.
        foreign: Whether the last answer showed somebody else's job under its id.
        silent: Whether it was told that nothing is known of it at present.
        hurry: Whether the job is being ended: its end is to be noticed soon, and it may vanish at once.
    """

    job: Job
    driver: Driver
    group: int
    ended: asyncio.Future[JobStatus]
    tell: Callable[[JobStatus | str], None]
    status: JobStatus = UNKNOWN
    changed: float = field(default_factory=time.monotonic)
    seen: float = -math.inf
    ours: bool = False
    foreign: bool = False
    absences: int = 0
    absent_since: float = 0.0
    silent: bool = False
    hurry: bool = False

    def interval(self, now: float) -> float:
        """Seconds after which this job should be asked about again."""
        if self.hurry:
            return _SOONEST
        policy = self.driver.recipe.policy
        longest = policy.poll
        if self.absences:
            longest = min(longest, max(policy.lost_after / policy.lost_polls, _SOONEST))
        return min(max((now - self.changed) / _STEADY, _SOONEST), longest)


@dataclass(slots=True, eq=False)
class _Place:
    """All that is asked of one driver: its circles, their cost in seconds, those without a full answer."""

    circles: dict[int, _Circle] = field(default_factory=dict)
    seconds: float = 0.0
    troubled: set[_Circle] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Circle:
    """Jobs that are asked about together, because one status command answers for all of them.

    Where a command answers for one job only, every job has a circle of its own: the failure of one does not
    slow down the others, and a young job does not make us ask about the old ones.
    """

    group: int
    driver: Driver
    place: _Place
    watches: dict[Watch, None] = field(default_factory=dict)
    due: float = math.inf
    seconds: float = 0.0
    failures: int = 0
    trouble: str = ""
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def hasten(self) -> None:
        """Ask soon."""
        self.due = min(self.due, time.monotonic() + _SOONEST)
        self.moved.set()

    async def until_due(self) -> None:
        """Wait until it is time to ask, or nobody is interested any more."""
        while self.watches and (left := self.due - time.monotonic()) > 0:
            self.moved.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.moved.wait(), left)

    def schedule(self) -> None:
        """Set the time of the next query."""
        now, poll = time.monotonic(), self.driver.recipe.policy.poll
        hurry = any(watch.hurry for watch in self.watches)
        if self.failures:
            wait = min(poll * 2 ** min(self.failures - 1, 10), poll if hurry else max(_LONGEST, poll))
        else:
            soonest = min((watch.interval(now) for watch in self.watches), default=poll)
            wait = max(soonest, self.seconds if hurry else min(self.place.seconds * _POLITE, poll))
        self.due = now + wait * random.uniform(0.9, 1.0)  # noqa: S311 - jitter


class Watcher:
    """Watches jobs until they end.

    Args:
        logger: Gets the warnings about infrastructures that do not answer, and of output that is odd.
    """

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._logger = logger
        self._places: dict[Driver, _Place] = {}
        self._remarks: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Watch for as long as the context lasts."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop polling. Jobs are left alone; their watches stay unresolved."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def watches(self) -> list[Watch]:
        """All the watches that have not ended."""
        circles = (circle for place in self._places.values() for circle in place.circles.values())
        return [watch for circle in circles for watch in circle.watches]

    def watch(self, job: Job, driver: Driver, tell: Callable[[JobStatus | str], None]) -> Watch:
        """Start to watch a submitted job."""
        group, ended = driver.status_group(job), asyncio.get_running_loop().create_future()
        watch = Watch(job, driver, group, ended, tell)
        place = self._places.setdefault(driver, _Place())
        circle = place.circles.get(group)
        if circle is None:
            circle = place.circles[group] = _Circle(group, driver, place)
            task = asyncio.create_task(self._follow(circle), name="generic-worker watcher")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        circle.watches[watch] = None
        if circle.failures:
            self._silence(watch, circle.trouble)
        circle.hasten()  # also where nothing answered: a job was submitted, so something does
        return watch

    def forget(self, watch: Watch) -> None:
        """Stop watching a job, whatever becomes of it."""
        circle = self._circle(watch)
        if circle is not None:
            circle.watches.pop(watch, None)
            circle.moved.set()

    def hurry(self, watch: Watch) -> None:
        """Ask about a job soon and often: somebody is waiting for its end."""
        watch.hurry = True
        if circle := self._circle(watch):
            circle.hasten()

    def tell(self, watch: Watch, news: JobStatus | str) -> None:
        """Pass on news. What goes wrong there must not keep this job's end, or others, from being noticed."""
        try:
            watch.tell(news)
        except Exception:
            self._logger.exception("The news of job %s could not be passed on.", watch.job.pid)

    def _circle(self, watch: Watch) -> _Circle | None:
        place = self._places.get(watch.driver)
        return place.circles.get(watch.group) if place else None

    async def _follow(self, circle: _Circle) -> None:
        """Ask about the jobs of a circle for as long as it has any."""
        place = circle.place
        try:
            while circle.watches:
                await circle.until_due()
                if circle.watches:
                    await self._poll(circle)
        finally:
            del place.circles[circle.group]
            place.seconds -= circle.seconds
            place.troubled.discard(circle)
            if not place.circles:
                self._places.pop(circle.driver, None)

    async def _poll(self, circle: _Circle) -> None:
        """Ask about all jobs of a circle once, and set the time of the next query."""
        watches = list(circle.watches)
        try:
            report = await circle.driver.status([watch.job for watch in watches])
            self._note_health(circle, watches, report)
            for remark in report.remarks:
                self._warn_once(circle.driver, remark)
            for number, watch in enumerate(watches):
                if number % _BREATH == _BREATH - 1:
                    await asyncio.sleep(0)
                if watch in circle.watches:
                    self._take(circle, watch, report.statuses[watch.job])
        except Exception:
            self._logger.exception("%s: a status query failed.", circle.driver.recipe.name)
            circle.failures += 1
        circle.schedule()

    def _take(self, circle: _Circle, watch: Watch, status: JobStatus) -> None:
        """Take one answer about one job."""
        now = time.monotonic()
        if status is UNKNOWN:
            self._silence(watch, circle.trouble)
            return
        if watch.silent:
            watch.silent = False
            self.tell(watch, "The infrastructure answers again.")
        watch.foreign = status.foreign
        watch.ours = watch.ours or status.ours
        if status.state is JobState.ABSENT or (status.foreign and watch.ours):
            self._count_absence(watch, now)
            return
        if status.foreign:
            return
        watch.absences = 0
        if not status.state.final:
            watch.seen = now
        if status.state is not JobState.UNKNOWN and status != watch.status:
            watch.changed = watch.changed if status.state is watch.status.state else now
            watch.status = status
            self.tell(watch, status)
        if status.state.final:
            self._end(watch, status)

    def _count_absence(self, watch: Watch, now: float) -> None:
        policy = watch.driver.recipe.policy
        if now - watch.job.born < policy.visible_after:
            return
        watch.absent_since = watch.absent_since if watch.absences else now
        watch.absences += 1
        lost_after = 0 if watch.hurry else policy.lost_after
        if watch.absences >= policy.lost_polls and now - watch.absent_since >= lost_after:
            self._end(watch, JobStatus(JobState.ABSENT, watch.status.word, watch.status.reason))

    def _end(self, watch: Watch, status: JobStatus) -> None:
        self.forget(watch)
        if not watch.ended.done():
            watch.ended.set_result(status)

    def _note_health(self, circle: _Circle, watches: Sequence[Watch], report: StatusReport) -> None:
        """Say once that an infrastructure does not answer, and once that it answers again."""
        place, unknown = circle.place, sum(status is UNKNOWN for status in report.statuses.values())
        place.seconds += report.seconds - circle.seconds
        circle.seconds, circle.trouble = report.seconds, report.trouble
        circle.failures = circle.failures + 1 if report.trouble and unknown == len(watches) else 0
        if report.trouble:
            if not place.troubled:
                text = "%s\nNothing is concluded about the jobs that it does not answer about: %d of %d."
                self._logger.warning(text, report.trouble, unknown, len(watches))
            place.troubled.add(circle)
        elif circle in place.troubled:
            place.troubled.remove(circle)
            if not place.troubled:
                self._logger.warning("%s: the infrastructure answers again.", circle.driver.recipe.name)

    def _warn_once(self, driver: Driver, remark: str) -> None:
        text = f"{driver.recipe.name}: status: {remark}"
        if len(self._remarks) > _REMARKS:
            self._remarks.clear()
        if text not in self._remarks:
            self._remarks.add(text)
            self._logger.warning("%s", text)

    def _silence(self, watch: Watch, trouble: str) -> None:
        if trouble and not watch.silent:
            watch.silent = True
            self.tell(watch, f"The state of the job is unknown for now: {trouble}")
