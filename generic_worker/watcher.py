"""The one polling loop: every watched job, as few status commands as possible, and the end of each job.

It knows nothing of Prefect. It never concludes anything from silence: only a final state, or proof of absence often and
long enough, ends a watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from generic_worker.jobs import UNKNOWN, Job, JobState, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from generic_worker.driver import Driver, StatusReport

_SOONEST = 1.0
"""Seconds between the queries about a job that has just been submitted, or has just changed."""
_STEADY = 30.0
"""A job is asked about every `age / _STEADY` seconds, so that the end of a short job is noticed soon."""
_POLITE = 10.0
"""A command that takes a second is not run more often than every ten seconds."""
_LONGEST = 300.0
"""Seconds between the queries of an infrastructure that does not answer, at most."""


@dataclass(slots=True, eq=False)
class Watch:
    """One watched job.

    Attributes:
        job: The job.
        driver: How to ask about it.
        ended: Resolves to the last status: a final one, or ABSENT when the job is lost.
        status: The last answer that was not unknown.
        changed: When the status last changed, in seconds of the monotonic clock.
        answered: When there last was an answer, likewise.
        tell: Called with each new status, and with the text of a warning about this job.
        hurry: Whether the job is being ended: its end is to be noticed soon, and it may vanish at once.
    """

    job: Job
    driver: Driver
    ended: asyncio.Future[JobStatus]
    tell: Callable[[JobStatus | str], None]
    status: JobStatus = UNKNOWN
    changed: float = field(default_factory=time.monotonic)
    answered: float = 0.0
    absences: int = 0
    absent_since: float = 0.0
    hurry: bool = False

    def interval(self, now: float) -> float:
        """Seconds after which this job should be asked about again."""
        if self.hurry:
            return _SOONEST
        policy = self.driver.recipe.policy
        longest = min(policy.poll, max(policy.lost_after / policy.lost_polls, _SOONEST)) if self.absences else policy.poll
        return min(max((now - self.changed) / _STEADY, _SOONEST), longest)


@dataclass(slots=True)
class _Circle:
    """The jobs of one driver, asked about together."""

    watches: dict[str, Watch] = field(default_factory=dict)
    due: float = 0.0
    seconds: float = 0.0
    failures: int = 0
    trouble: str = ""
    busy: bool = False


class Watcher:
    """Watches jobs until they end.

    Args:
        logger: Gets the warnings about infrastructures that do not answer, and of output that is odd.
    """

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._logger = logger
        self._circles: dict[Driver, _Circle] = {}
        self._remarks: set[str] = set()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watcher:
        """Start polling."""
        self._loop = asyncio.create_task(self._poll_forever(), name="generic-worker watcher")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop polling. Jobs are left alone; their watches stay unresolved."""
        tasks = [task for task in (self._loop, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def watches(self) -> list[Watch]:
        """All the watches that have not ended."""
        return [watch for circle in self._circles.values() for watch in circle.watches.values()]

    def watch(self, job: Job, driver: Driver, tell: Callable[[JobStatus | str], None]) -> Watch:
        """Start to watch a submitted job."""
        watch = Watch(job, driver, asyncio.get_running_loop().create_future(), tell)
        circle = self._circles.setdefault(driver, _Circle())
        circle.watches[job.key] = watch
        if circle.trouble:
            watch.tell(f"The infrastructure does not answer at present: {circle.trouble}")
        else:
            circle.due = min(circle.due, time.monotonic() + _SOONEST) if circle.due else time.monotonic() + _SOONEST
        self._wake.set()
        return watch

    def forget(self, watch: Watch) -> None:
        """Stop watching a job, whatever becomes of it."""
        circle = self._circles.get(watch.driver)
        if circle is not None:
            circle.watches.pop(watch.job.key, None)
            if not circle.watches and not circle.busy:
                del self._circles[watch.driver]

    def hurry(self, watch: Watch) -> None:
        """Ask about a job soon and often: somebody is waiting for its end."""
        watch.hurry = True
        circle = self._circles.get(watch.driver)
        if circle is not None and not circle.failures:
            circle.due = min(circle.due, time.monotonic() + _SOONEST)
            self._wake.set()

    async def _poll_forever(self) -> None:
        while True:
            now = time.monotonic()
            for driver, circle in list(self._circles.items()):
                if circle.due <= now and not circle.busy and circle.watches:
                    circle.busy = True
                    task = asyncio.create_task(self._poll(driver, circle))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            waiting = [circle.due for circle in self._circles.values() if not circle.busy and circle.watches]
            self._wake.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(min(waiting) - now, 0) if waiting else None)

    async def _poll(self, driver: Driver, circle: _Circle) -> None:
        """Ask about all jobs of a driver once, and set the time of the next query."""
        watches = list(circle.watches.values())
        try:
            report = await driver.status([watch.job for watch in watches])
            self._note_health(circle, watches, report)
            self._warn_once(driver, report.remarks)
            for watch in watches:
                if watch.job.key in circle.watches:
                    self._take(watch, report.statuses[watch.job])
        except Exception:
            self._logger.exception("%s: a status query failed; it is tried again.", driver.recipe.name)
            circle.failures += 1
        finally:
            circle.busy = False
            self._schedule(driver, circle)
            self._wake.set()

    def _schedule(self, driver: Driver, circle: _Circle) -> None:
        if not circle.watches:
            self._circles.pop(driver, None)
            return
        now, poll = time.monotonic(), driver.recipe.policy.poll
        if circle.failures:
            wait = min(poll * 2 ** min(circle.failures - 1, 10), max(_LONGEST, poll))
        else:
            soonest = min(watch.interval(now) for watch in circle.watches.values())
            wait = max(soonest, min(circle.seconds * _POLITE, poll))
        circle.due = now + wait * random.uniform(0.9, 1.0)  # noqa: S311 - jitter

    def _take(self, watch: Watch, status: JobStatus) -> None:
        """Take one answer about one job."""
        now = time.monotonic()
        if status.state is JobState.UNKNOWN:
            return
        watch.answered = now
        if status.state is JobState.ABSENT:
            self._count_absence(watch, now)
            return
        watch.absences = 0
        if status != watch.status:
            watch.status, watch.changed = status, now
            watch.tell(status)
        if status.state.final:
            self._end(watch, status)

    def _count_absence(self, watch: Watch, now: float) -> None:
        policy = watch.driver.recipe.policy
        watch.absent_since = watch.absent_since if watch.absences else now
        watch.absences += 1
        if watch.absences >= policy.lost_polls and now - watch.absent_since >= (0 if watch.hurry else policy.lost_after):
            self._end(watch, JobStatus(JobState.ABSENT, watch.status.word, watch.status.reason))

    def _end(self, watch: Watch, status: JobStatus) -> None:
        self.forget(watch)
        if not watch.ended.done():
            watch.ended.set_result(status)

    def _note_health(self, circle: _Circle, watches: Iterable[Watch], report: StatusReport) -> None:
        """Say once that an infrastructure does not answer, and once that it answers again."""
        circle.seconds = report.seconds
        if report.trouble:
            circle.failures += all(status is UNKNOWN for status in report.statuses.values())
            if not circle.trouble:
                circle.trouble = report.trouble
                self._logger.warning("%s\nNothing is concluded about %d jobs.", report.trouble, len(circle.watches))
                for watch in watches:
                    watch.tell(f"The state of the job is unknown for now: {report.trouble}")
            return
        circle.failures = 0
        if circle.trouble:
            circle.trouble = ""
            self._logger.warning("The infrastructure answers again; %d jobs are watched.", len(circle.watches))
            for watch in watches:
                watch.tell("The infrastructure answers again.")

    def _warn_once(self, driver: Driver, remarks: Iterable[str]) -> None:
        for remark in remarks:
            if remark not in self._remarks:
                self._remarks.add(remark)
                self._logger.warning("%s: status: %s", driver.recipe.name, remark)
