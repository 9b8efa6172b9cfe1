"""A watched job, and the jobs that are asked about together with it: when to ask, and what was last heard.

Here is decided how often; what an answer means is decided in `watcher`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from generic_worker.job import UNKNOWN, Job, JobStatus
from generic_worker.jobs import clock
from generic_worker.jobs.turns import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from generic_worker.jobs.driver import Driver

_SOONEST = 1.0
"""Seconds between the queries about a job that has just been submitted, or has just changed."""
_AGE_PER_QUERY = 30.0
"""A job is asked about every `age / _AGE_PER_QUERY` seconds, so that the end of a short job is noticed soon."""
_PAUSE_FACTOR = 10.0
"""Status commands that take a second all together are not run more often than every ten seconds."""
_TRUE_NEWS_FACTOR = 1.0
"""The same for those that news asks for while it is true: each shows a change, so there are no more than changes."""
_NEWS_PAUSE = 0.25
"""Seconds between two queries that news asks for, at least. The more there is of it, the more time is between them."""
SETTLED = 5.0
"""Seconds after which a watch command that runs counts as connected. Until then states are asked for as without it."""
_LONGEST = 300.0
"""Seconds between the queries of an infrastructure that does not answer, at most."""


@dataclass(slots=True, eq=False)
class Watch:
    """One watched job.

    Attributes:
        job: The job.
        driver: How to ask about it.
        command: Stands for its status command: jobs for which it is the same are asked about together.
        ended: Resolves to the last status: a final one, or ABSENT when the job is lost.
        tell: Called with each new status, and with the text of a warning about this job.
        status: The last answer that was not unknown.
        told: What was told of the state that it is in.
        changed: When the status last changed, by `jobs.clock`.
        seen: When it was last shown alive, or in a state that we have no word for, likewise.
        ours: Whether some answer carried its key: then another key under its id means that it is gone.
        foreign: Whether the last answer showed somebody else's job under its id.
        silent: Whether it was told that nothing is known of it at present.
        hurry: Whether the job is being ended: its end is to be noticed soon, and it may vanish at once.
        stream: What tells that it may have changed; None where nothing does.
        news: When that last told so, by `jobs.clock`, and no change has been seen since; None otherwise.
    """

    job: Job
    driver: Driver
    command: int
    ended: asyncio.Future[JobStatus]
    tell: Callable[[JobStatus | str], None]
    status: JobStatus = UNKNOWN
    told: set[str] = field(default_factory=set)
    changed: float = field(default_factory=clock.now)
    seen: float = -math.inf
    ours: bool = False
    foreign: bool = False
    absences: int = 0
    absent_since: float = 0.0
    silent: bool = False
    hurry: bool = False
    stream: Stream | None = None
    news: float | None = None

    def interval(self, now: float) -> float:
        """Seconds after which this job should be asked about again."""
        if self.hurry:
            return _SOONEST
        policy = self.driver.recipe.policy
        longest = policy.poll
        if self.absences:
            longest = min(longest, max(policy.lost_after / policy.lost_polls, _SOONEST))
        age = (now - self.changed) / _AGE_PER_QUERY
        if self.status is not UNKNOWN and self.stream is not None and self.stream.up(now):
            age = longest if self.news is None else now - self.news
        return min(max(age, _SOONEST), longest)


@dataclass(slots=True, eq=False)
class Stream:
    """A watch command, for the jobs that it may tell of.

    Attributes:
        watches: These jobs' watches.
        since: Since when it has been running, by `jobs.clock`; infinite while it is not.
        empty: Is set when the last of them has left.
    """

    watches: dict[Watch, None] = field(default_factory=dict)
    since: float = math.inf
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def up(self, now: float) -> bool:
        """Whether it can be relied on to tell of most changes."""
        return now - self.since >= SETTLED

    def leave(self, watch: Watch) -> None:
        """A job is not watched any more."""
        self.watches.pop(watch, None)
        if not self.watches:
            self.empty.set()


@dataclass(slots=True, eq=False)
class Infrastructure:
    """All that is asked of one driver: its groups, their cost in seconds, those without a full answer.

    Attributes:
        answered: When it last answered in full, in seconds since the epoch; when it was first asked until then.
    """

    groups: dict[int, WatchGroup] = field(default_factory=dict)
    seconds: float = 0.0
    without_answer: set[WatchGroup] = field(default_factory=set)
    answered: float = field(default_factory=time.time)


@dataclass(slots=True, eq=False)
class WatchGroup:
    """Jobs that are asked about together, because one status command answers for all of them.

    Where a command answers for one job only, every job has a group of its own: the failure of one does not
    slow down the others, and a young job does not make us ask about the old ones.

    Attributes:
        due: When to ask next, by `jobs.clock`.
        asked: When was last asked, likewise.
        news: Whether it was told since then that something may have changed.
        true_news: Whether the last answer has shown another state of some job.
        rush: How many times the cost of a query has to pass before news may ask for the next.
        cost: Seconds that it takes to ask about all that the last news was about.
    """

    command: int
    driver: Driver
    infrastructure: Infrastructure
    watches: dict[Watch, None] = field(default_factory=dict)
    due: float = math.inf
    asked: float = -math.inf
    news: bool = False
    true_news: bool = False
    rush: float = 1.0
    cost: float = 0.0
    seconds: float = 0.0
    failures: int = 0
    trouble: str = ""
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def ask_soon(self) -> None:
        """Ask soon."""
        self.due = min(self.due, clock.now() + _SOONEST)
        self.moved.set()

    def tell_news(self, cost: float) -> None:
        """Ask at once, or as soon as may be: something may have changed."""
        if not self.failures:
            self.news, self.cost = True, cost
            self.due = min(self.due, self.asked + self._news_pause())
            self.moved.set()

    def begin(self) -> None:
        """A query begins: news that comes from now on is not in its answer."""
        most = _TRUE_NEWS_FACTOR if self.true_news else _PAUSE_FACTOR
        self.rush = min(self.rush * 2, most) if self.news else 1.0
        self.news = self.true_news = False

    def _news_pause(self) -> float:
        return max(_NEWS_PAUSE, min(self.cost * self.rush, self.driver.recipe.policy.poll))

    async def until_due(self) -> None:
        """Wait until it is time to ask, or nobody is interested any more."""
        while self.watches and (left := self.due - clock.now()) > 0:
            self.moved.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.moved.wait(), left)

    async def schedule(self) -> None:
        """Set the time of the next query. That takes a while if jobs are many: who asks for one meanwhile gets it."""
        self.asked = now = clock.now()
        self.due, soonest, hurry = math.inf, math.inf, False
        turn = Turn()
        for watch in list(self.watches):
            await turn.end_in_time()
            soonest, hurry = min(soonest, watch.interval(now)), hurry or watch.hurry
        self.due = min(self.due, now + self._wait(soonest, hurry=hurry) * random.uniform(0.9, 1.0))  # noqa: S311 - jitter

    def _wait(self, soonest: float, *, hurry: bool) -> float:
        """Seconds until the next query.

        Args:
            soonest: Seconds after which some job should be asked about; infinite if there is none.
            hurry: Whether some job is being ended.
        """
        poll = self.driver.recipe.policy.poll
        if self.failures:
            return min(poll * 2.0 ** min(self.failures - 1, 10), poll if hurry else max(_LONGEST, poll))
        soonest = poll if soonest == math.inf else soonest
        wait = max(soonest, self.seconds if hurry else min(self.infrastructure.seconds * _PAUSE_FACTOR, poll))
        return min(wait, self._news_pause()) if self.news else wait
