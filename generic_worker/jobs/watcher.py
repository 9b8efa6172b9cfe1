"""The one place that polls: every watched job, as few status commands as possible, and the end of each job.

It knows nothing of Prefect. It concludes nothing from silence: only a final state, or proof of absence often
and long enough, ends a watch.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from generic_worker.job import UNKNOWN, Job, JobState, JobStatus
from generic_worker.jobs import clock
from generic_worker.jobs.streams import Streams
from generic_worker.jobs.turns import Turn
from generic_worker.jobs.watches import Infrastructure, Watch, WatchGroup

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from generic_worker.jobs.driver import Driver
    from generic_worker.jobs.status_report import StatusReport

_REMARKS = 1000  # oddities that are told, one warning each; of more there is one that says so
_REMARKS_S = 86400.0  # seconds after which they may be told again


class Watcher:
    """Watches jobs until they end.

    Args:
        logger: Gets the warnings about infrastructures that do not answer, and of output that is odd.
    """

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._logger = logger
        self._infrastructures: dict[Driver, Infrastructure] = {}
        self._remarks: set[str] = set()
        self._remarks_since = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams = Streams(logger, self._take_news)

    async def __aenter__(self) -> Self:
        """Watch for as long as the context lasts."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop polling. Jobs are left alone; their watches stay unresolved."""
        await self._streams.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def watches(self) -> list[Watch]:
        """All the watches that have not ended."""
        groups = [group for one in list(self._infrastructures.values()) for group in list(one.groups.values())]
        return [watch for group in groups for watch in list(group.watches)]

    def last_answers(self) -> list[tuple[str, float]]:
        """When each infrastructure with watched jobs last answered in full: its recipe, and seconds since the epoch."""
        return [(driver.recipe.name, one.answered) for driver, one in list(self._infrastructures.items())]

    def watch(self, job: Job, driver: Driver, tell: Callable[[JobStatus | str], None]) -> Watch:
        """Start to watch a submitted job."""
        command, ended = driver.status_group(job), asyncio.get_running_loop().create_future()
        watch = Watch(job, driver, command, ended, tell)
        infrastructure = self._infrastructures.setdefault(driver, Infrastructure())
        group = infrastructure.groups.get(command)
        if group is None:
            group = infrastructure.groups[command] = WatchGroup(command, driver, infrastructure)
            task = asyncio.create_task(self._follow(group), name="generic-worker watcher")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        group.watches[watch] = None
        watch.stream = self._streams.join(watch)
        if group.failures:
            self._tell_unknown(watch, group.trouble)
        group.ask_soon()  # also where nothing answered: a job was submitted, so something does
        return watch

    def forget(self, watch: Watch) -> None:
        """Stop watching a job, whatever becomes of it."""
        if watch.stream is not None:
            watch.stream.leave(watch)
        group = self._group(watch)
        if group is not None:
            group.watches.pop(watch, None)
            group.moved.set()

    def hurry(self, watch: Watch) -> None:
        """Ask about a job soon and often: somebody is waiting for its end."""
        watch.hurry = True
        if group := self._group(watch):
            group.ask_soon()

    def tell(self, watch: Watch, news: JobStatus | str) -> None:
        """Pass on news. What goes wrong there must not keep this job's end, or others, from being noticed."""
        try:
            watch.tell(news)
        except Exception:
            self._logger.exception("The news of job %s could not be passed on.", watch.job.pid)

    def _take_news(self, watches: Sequence[Watch]) -> None:
        """Jobs may have changed: ask soon. Nothing else follows from that."""
        for watch in watches:
            watch.news = clock.now()
        found = {(watch.driver, watch.command): watch for watch in watches}.values()
        groups = [group for watch in found if (group := self._group(watch))]
        cost = sum(group.seconds for group in groups)
        for group in groups:
            group.tell_news(cost)

    def _group(self, watch: Watch) -> WatchGroup | None:
        infrastructure = self._infrastructures.get(watch.driver)
        return infrastructure.groups.get(watch.command) if infrastructure else None

    async def _follow(self, group: WatchGroup) -> None:
        """Ask about the jobs of a group for as long as it has any."""
        infrastructure = group.infrastructure
        try:
            while group.watches:
                await group.until_due()
                if group.watches:
                    await self._poll(group)
        finally:
            del infrastructure.groups[group.command]
            infrastructure.seconds -= group.seconds
            infrastructure.without_answer.discard(group)
            if not infrastructure.groups:
                self._infrastructures.pop(group.driver, None)

    async def _poll(self, group: WatchGroup) -> None:
        """Ask about all jobs of a group once, and set the time of the next query."""
        watches = list(group.watches)
        group.begin()
        try:
            report = await group.driver.status([watch.job for watch in watches])
            self._note_health(group, watches, report)
            turn = Turn()
            for remark in report.remarks:
                await turn.end_in_time()
                self._warn_once(group.driver, remark)
            for watch in watches:
                await turn.end_in_time()
                if watch in group.watches:
                    self._take_answer(group, watch, report.statuses[watch.job])
        except Exception:
            self._logger.exception("%s: a status query failed.", group.driver.recipe.name)
            group.failures += 1
        await group.schedule()

    def _take_answer(self, group: WatchGroup, watch: Watch, status: JobStatus) -> None:
        """Take one answer about one job."""
        now = clock.now()
        if status is UNKNOWN:
            self._tell_unknown(watch, group.trouble)
            return
        if watch.silent:
            watch.silent = False
            self.tell(watch, "The infrastructure answers again.")
        watch.foreign = status.foreign
        watch.ours = watch.ours or status.ours
        watch.job.claimed = watch.job.claimed and not status.ours
        if status.state is JobState.ABSENT or (status.foreign and watch.ours):
            self._count_absence(watch, now)
            return
        if status.foreign:
            return
        watch.absences = 0
        if not status.state.final:
            watch.seen = now
        if status.state is not JobState.UNKNOWN and status != watch.status:
            if status.state is not watch.status.state:
                watch.changed = now
                watch.told.clear()
                group.true_news = True
            watch.status = status
            watch.news = None
            if str(status) not in watch.told:  # reasons may take turns: of each it is told once
                watch.told.add(str(status))
                self.tell(watch, status)
        if status.state.final:
            self._end(watch, status)

    def _count_absence(self, watch: Watch, now: float) -> None:
        policy = watch.driver.recipe.policy
        if now - watch.job.born < policy.visible_after:
            return
        if policy.absent == "ended":
            gone = JobStatus(JobState.FINISHED, "gone", watch.status.reason)
            self.tell(watch, gone)
            self._end(watch, gone)
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

    def _note_health(self, group: WatchGroup, watches: Sequence[Watch], report: StatusReport) -> None:
        """Say once that an infrastructure does not answer, and once that it answers again."""
        infrastructure, unknown = group.infrastructure, sum(status is UNKNOWN for status in report.statuses.values())
        infrastructure.seconds += report.seconds - group.seconds
        group.seconds, group.trouble = report.seconds, report.trouble
        group.failures = group.failures + 1 if report.trouble and unknown == len(watches) else 0
        if report.trouble and unknown:  # a command may fail and yet say all that it was asked
            if not infrastructure.without_answer:
                text = "%s\nNothing is concluded about the jobs that it does not answer about: %d of %d."
                self._logger.warning(text, report.trouble, unknown, len(watches))
            infrastructure.without_answer.add(group)
            return
        infrastructure.answered = time.time()
        if group in infrastructure.without_answer:
            infrastructure.without_answer.remove(group)
            if not infrastructure.without_answer:
                self._logger.warning("%s: the infrastructure answers again.", group.driver.recipe.name)

    def _warn_once(self, driver: Driver, remark: str) -> None:
        text = f"{driver.recipe.name}: status: {remark}"
        if clock.now() - self._remarks_since > _REMARKS_S:
            self._remarks.clear()
        if text in self._remarks or len(self._remarks) > _REMARKS:
            return
        self._remarks_since = self._remarks_since if self._remarks else clock.now()
        self._remarks.add(text)
        if len(self._remarks) > _REMARKS:
            text = f"{driver.recipe.name}: status: there is more that is odd; it is not told before a day has passed."
        self._logger.warning("%s", text)

    def _tell_unknown(self, watch: Watch, trouble: str) -> None:
        if trouble and not watch.silent:
            watch.silent = True
            self.tell(watch, f"The state of the job is unknown for now: {_brief(trouble)}")


def _brief(trouble: str) -> str:
    """What went wrong as one line: each job's log gets it, while the worker's has the command and all that it said."""
    what, *said = trouble.splitlines()
    what = what.partition(": `")[0]
    return f"{what}: {said[-1].strip()}" if said else what
