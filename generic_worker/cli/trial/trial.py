"""A live trial of a recipe: what its steps have in common, and the end of its jobs. No Prefect."""

from __future__ import annotations

import asyncio
import logging
import shlex
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from generic_worker.cli.trial.limits import Limits
from generic_worker.cli.trial.recording import UNLISTED, Recorder, Remarks, recording
from generic_worker.cli.trial.verdicts import Verdicts
from generic_worker.commands.masking import hiding
from generic_worker.commands.rendering import job_values, render
from generic_worker.errors import GenericWorkerError
from generic_worker.job import Job, JobState, JobStatus
from generic_worker.jobs import clock
from generic_worker.jobs.cancellation import end_job
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

    from generic_worker.cli.trial.verdicts import Verdict
    from generic_worker.commands.runner import CommandResult
    from generic_worker.jobs.watches import Watch
    from generic_worker.language.recipe import Recipe

_POLICY = {"poll": 1.0, "lost_after": 10.0, "grace": 5.0, "retry_for": 20.0}
"""Seconds, at most: a trial is not to take as long as a worker's patience."""
_PAUSE = 2.0
"""Seconds between two looks at a job of which something odd was said."""
BRIEF = 20.0
"""Seconds for which a job is waited for of which nothing is understood."""
EMPTY = "If this is how the tool says that it has no jobs, write its words as `empty`"
_LONG = 120
"""Seconds that a job runs which is to be cancelled. Should that fail, it ends by itself."""
_IN_LINE = 8.0
"""Seconds for which one job runs while others wait, before that is taken for the way of the infrastructure."""


class NoJobError(Exception):
    """A step has no job to look at; its text says why."""


@dataclass(eq=False)
class Trial:
    """A trial of a recipe. It is a context, which leaves no job behind that it can end.

    Attributes:
        recipe: The recipe.
        variables: The values of all its variables.
        env: What else the jobs get in their environment.
        waiting: Values of variables with which a job waits; without, a job is cancelled as soon as it is submitted.
        timeout: Seconds for all of it; as many as the recipe's commands need when None.
        tell: Called with each verdict.
        note: Called with what the user should know meanwhile.
        verdicts: All verdicts so far.
        timings: Seconds: `submit`, `first_seen` and, where jobs show their exit codes, `end_noticed`.
        left: The jobs that were not seen to end, with what ends them.
        notes: What the user was told meanwhile.
    """

    recipe: Recipe
    variables: Mapping[str, Any]
    env: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    tell: Callable[[Verdict], None] = lambda _: None
    note: Callable[[str], None] = lambda _: None
    timings: dict[str, float] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        policy = self.recipe.policy
        brief = {name: min(seconds, getattr(policy, name)) for name, seconds in _POLICY.items()}
        self.recipe = self.recipe.model_copy(update={"policy": policy.model_copy(update=brief)})
        self.runner = Recorder(policy.commands)
        self.limits = Limits(self.runner, self.timeout)
        self.verdicts = Verdicts(self.tell)
        self.driver = Driver(self.recipe.model_copy(update={"watch": None}), self.runner)  # it has a step of its own
        self._jobs: list[Job] = []
        self._cleaned: set[Job] = set()
        self._uncleanable: set[Job] = set()
        self._troubles: list[str] = []
        self.watches: dict[Job, Watch] = {}
        self.answered = asyncio.Event()
        self.remarks = Remarks()
        self._in_line_since: float | None = None
        logger = logging.getLogger(f"{__name__}.{id(self)}")
        logger.propagate = False
        logger.addHandler(self.remarks)
        self.watcher = Watcher(logger)

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End every job, and clean up after it."""
        async with self.watcher:
            await self.clear()
        if self._troubles:
            self.verdicts.fails("Clean-up", "it failed", "cleanup", tuple(self._troubles))
        elif self.watches:
            self.verdicts.holds("Clean-up", f"after {len(self.watches)} jobs")

    # What the steps have in common.

    def job(
        self,
        script: str,
        env: Mapping[str, str] | None = None,
        variables: Mapping[str, Any] | None = None,
        key: str = "",
    ) -> Job:
        """A job that runs a shell script, not submitted yet."""
        key = key or f"pf-{uuid.uuid4().hex}-000000"
        about = {
            "job_key": key,
            "job_name": f"try {self.recipe.name}",
            "command": shlex.join(["sh", "-c", script]),
            "env": {**self.env, **(env or {})},
            "labels": {},
            **dict.fromkeys(("flow_run_name", "flow_name", "deployment_name", "work_pool_name"), "try"),
            "flow_run_id": str(uuid.UUID(key[3:35])),
        }
        values = job_values(self.recipe, {**self.variables, **(variables or {})}, about)
        return Job(key, values, self.recipe.name, self.driver.scope(values))

    async def submit(
        self, script: str, env: Mapping[str, str] | None = None, variables: Mapping[str, Any] | None = None
    ) -> Watch:
        """Submit a job and watch it. The first one shows how well the recipe submits."""
        job, first, begin = self.job(script, env, variables), not self._jobs, time.monotonic()
        self._jobs.append(job)
        with recording() as recorded:
            try:
                await asyncio.wait_for(self.driver.submit(job), max(self.limits.left, 1))
            except asyncio.TimeoutError:
                error: str = f"no job when {self.limits.over()}"
            except GenericWorkerError as caught:
                error = str(caught)
            else:
                error = ""
        seconds = time.monotonic() - begin
        if first or error:
            self._conclude_submission(job, recorded, error, seconds)
        if error:
            raise NoJobError("its job was not submitted")
        seen = asyncio.get_running_loop().time()

        def tell(news: JobStatus | str) -> None:
            if first and isinstance(news, JobStatus):
                self.timings.setdefault("first_seen", asyncio.get_running_loop().time() - seen)

        watch = self.watches[job] = self.watcher.watch(job, self.driver, tell)
        self.answered.set()
        return watch

    def _conclude_submission(self, job: Job, recorded: Sequence[CommandResult], error: str, seconds: float) -> None:
        name, evidence = "Submission", self.said(recorded[:1], job)
        understood = bool(recorded) and recorded[0].exit_code == 0
        if error:
            self.verdicts.fails(name, error, "submit.output" if understood else "submit", evidence)
        elif len(recorded) > 1 and understood:
            found = f"the command exited 0 and its output yields no id; the job was found by its key as {job.id}"
            self.verdicts.fails(name, found, "submit.output", evidence)
        else:
            self.timings["submit"] = seconds
            self.verdicts.holds(name, f"the job is {job.id}")

    @property
    def long(self) -> int:
        """Seconds that a job runs which is to be cancelled."""
        return round(self.limits.grown(self.limits.grown(_LONG)))

    async def ended(self, watch: Watch) -> JobStatus | None:
        """A job's end; None when it was not seen in time."""
        await self.reached(watch, watch.ended.done)
        return watch.ended.result() if watch.ended.done() else None

    async def reached(self, watch: Watch, condition: Callable[[], bool]) -> bool:
        """Wait until something is so of a job, or it has ended. False if neither can be seen, or time is over."""
        asked, unknown_since = time.monotonic(), None
        while not (watch.ended.done() or condition()):
            self._look_at_the_line()
            now = time.monotonic()
            if self.limits.left < 0:
                return False
            if self.remarks.texts and now - asked > self.limits.grown(_PAUSE):  # is what is odd about this job?
                asked, report = now, await self.driver.status([watch.job])
                unknown = report.statuses[watch.job].state is JobState.UNKNOWN
                unknown_since = (unknown_since or now) if unknown else None
                if unknown_since and now - unknown_since > self.limits.grown(BRIEF) and not watch.ended.done():
                    return False
            await asyncio.wait({watch.ended}, timeout=0.2)
        return True

    def _look_at_the_line(self) -> None:
        """Notice that only one job runs at a time, and tell it once."""
        alive = [watch for watch in self.watches.values() if not watch.ended.done()]
        running = sum(watch.status.state is JobState.RUNNING for watch in alive)
        now = time.monotonic()
        if len(alive) < 3 or running > 1:  # noqa: PLR2004 - one that runs, and some that wait
            self._in_line_since = None
        elif self._in_line_since is None:
            self._in_line_since = now
        elif now - self._in_line_since > self.limits.grown(_IN_LINE) and not self.notes:
            what = "one job runs at a time" if running else "no job has started yet"
            self.notes.append(
                f"{what}, and {len(alive) - running} wait: the trial takes as long as all one after another"
            )
            self.note(self.notes[-1])

    def is_untold(self, status: JobStatus) -> bool:
        """Whether a job has ended, and the recipe says that nobody knows how."""
        return status.state is JobState.FINISHED and self.recipe.policy.absent == "ended"

    async def unseen(self, name: str, watch: Watch) -> None:
        """Conclude what it means that a job's end, or what comes before it, was not seen."""
        with recording() as recorded:
            report = await self.driver.status([watch.job])
        said, now = self.said(recorded, watch.job), report.statuses[watch.job]
        trouble, *_ = report.trouble.partition(": `")
        last = f"the last state was {watch.status}"
        if now.state is JobState.UNKNOWN and (now.word or UNLISTED in trouble):
            self.verdicts.fails(name, self.remarks.about_words() or trouble, "states", said)
        elif trouble:
            found = f"nobody can say how it stands with it ({trouble}); {last}. {EMPTY}"
            self.verdicts.fails(name, found, "status", said)
        elif self.limits.left < 0 and (watch.status.state is not JobState.RUNNING or self.notes):
            self.verdicts.not_known(name, f"{last} when {self.limits.over()}", "status", said)
        else:
            found = f"its end was not seen within {clock.now() - watch.job.born:.0f} s; {last}"
            self.verdicts.fails(name, found, "status", said)

    async def vanished(self, name: str, watch: Watch) -> None:
        """Conclude that the status commands forget a job too soon."""
        last = f" after it was {watch.status}" if watch.status.word else ""
        found = (
            f"nothing was said of it any more{last}: status must show jobs for some time after their end, or the "
            "recipe say that one which is gone has ended (policy: {absent: ended})"
        )
        self.verdicts.fails(name, found, "status", await self.asked(watch))

    async def asked(self, watch: Watch) -> tuple[str, ...]:
        """What the status commands say of a job now."""
        with recording() as recorded:
            await self.driver.status([watch.job])
        return self.said(recorded, watch.job)

    def said(self, recorded: Sequence[CommandResult], job: Job) -> tuple[str, ...]:
        """What commands have said, without secrets."""
        return tuple(result.describe(hiding(job.values)) for result in recorded)

    # The end.

    async def clear(self) -> None:
        """End every job that is left, and clean up after all. What cannot be ended is in `left`."""
        await self._look_up()
        await asyncio.gather(*(self._end(watch) for watch in self.watches.values()))
        jobs = [job for job in self._jobs if job not in self._cleaned]
        self._cleaned.update(jobs)
        troubles = await asyncio.gather(*(self.driver.cleanup(job) for job in jobs))  # also of what is left
        for job, trouble in zip(jobs, troubles, strict=True):
            if trouble and job.id and job not in self._uncleanable:
                self._troubles.append(trouble)

    async def _look_up(self) -> None:
        """Find the jobs whose submission was interrupted."""
        without_id = [job for job in self._jobs if not job.id and job not in self._cleaned]
        if not without_id:
            return
        await asyncio.sleep(self.recipe.policy.visible_after)
        found, trouble = await self.driver.find(without_id)
        self.left += [f"the job with the key {job.key}, if it exists" for job in trouble]
        for job in found:
            self.watches[job] = self.watcher.watch(job, self.driver, lambda _: None)

    async def _end(self, watch: Watch) -> None:
        if watch.ended.done() or watch.job in self._cleaned:
            return
        status = await end_job(self.watcher, watch, self.limits.grown(BRIEF))
        if not watch.ended.done() and (status.state.alive or status.state is JobState.UNKNOWN):
            self._uncleanable.add(watch.job)
            words = self.recipe.cancels[-1].run
            by_hand = render(self.recipe, self.recipe.cancels[-1], {**watch.job.values, **watch.job.submitted}).line
            hint = f", which this may end: {hiding(watch.job.values)(by_hand)}" if isinstance(words, list) else ""
            self.left.append(f"{watch.job.pid}{hint}")
