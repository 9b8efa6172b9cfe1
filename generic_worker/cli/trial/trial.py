"""A live trial of a recipe: real jobs on the author's own infrastructure, and what can be said of the recipe after.

Each step submits what it needs, looks at it as a worker would, and concludes one or more verdicts. No Prefect.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from generic_worker.cli.trial.recording import Recorder, Remarks, recording
from generic_worker.commands.masking import hiding
from generic_worker.commands.rendering import job_values
from generic_worker.errors import GenericWorkerError
from generic_worker.job import Job, JobState, JobStatus
from generic_worker.jobs.cancellation import end_job
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

    from generic_worker.commands.runner import CommandResult
    from generic_worker.jobs.watches import Watch
    from generic_worker.language.recipe import Recipe

_POLICY = {"poll": 1.0, "lost_after": 10.0, "grace": 5.0, "retry_for": 20.0}
"""Seconds, at most: a trial is not to take as long as a worker's patience."""
BRIEF = 20.0
"""Seconds for which a job is waited for after the recipe was found not to understand an answer."""
Outcome = Literal["holds", "fails", "not tried"]


@dataclass(frozen=True)
class Verdict:
    """What one step has found.

    Attributes:
        step: What was tried.
        outcome: Whether the recipe holds.
        found: What was found, in a sentence.
        key: The key of the recipe to look at, when it does not hold.
        evidence: The commands that ran, and what they said. No secret is in it.
    """

    step: str
    outcome: Outcome
    found: str
    key: str = ""
    evidence: tuple[str, ...] = ()


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
        timeout: Seconds in which every job must have got through.
        tell: Called with each verdict.
        verdicts: All verdicts so far.
        timings: Seconds: `submit`, `first_seen` and, where jobs show their exit codes, `end_noticed`.
        left: The jobs that were not seen to end.
    """

    recipe: Recipe
    variables: Mapping[str, Any]
    env: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 300.0
    tell: Callable[[Verdict], None] = lambda _: None
    verdicts: list[Verdict] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        policy = self.recipe.policy
        brief = {name: min(seconds, getattr(policy, name)) for name, seconds in _POLICY.items()}
        self.recipe = self.recipe.model_copy(update={"policy": policy.model_copy(update=brief)})
        self.runner = Recorder(policy.commands)
        self.driver = Driver(self.recipe, self.runner)
        self.deadline = time.monotonic() + self.timeout
        self._jobs: list[Job] = []
        self.watches: dict[Job, Watch] = {}
        self.answered = asyncio.Event()
        self.remarks = Remarks()
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
            await self._look_up()
            await asyncio.gather(*(self._end(watch) for watch in self.watches.values()))
            troubles = [await self.driver.cleanup(job) for job in self._jobs if job.id and job.pid not in self.left]
        self._conclude_cleanup([trouble for trouble in troubles if trouble])

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
                await asyncio.wait_for(self.driver.submit(job), max(self.deadline - begin, 1))
            except asyncio.TimeoutError:
                error: str = f"no job within {self.timeout:g} s"
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
            self.fails(name, error, "submit.output" if understood else "submit", evidence)
        elif len(recorded) > 1 and understood:
            found = f"the command exited 0 and its output yields no id; the job was found by its key as {job.id}"
            self.fails(name, found, "submit.output", evidence)
        else:
            self.timings["submit"] = seconds
            self.holds(name, f"the job is {job.id}")

    async def ended(self, watch: Watch) -> JobStatus | None:
        """A job's end; None when it was not seen in time."""
        while not watch.ended.done():
            now, since = time.monotonic(), self.remarks.since
            if now > self.deadline or (since is not None and now - max(since, watch.changed) > BRIEF):
                return None
            await asyncio.wait({watch.ended}, timeout=0.2)
        return watch.ended.result()

    async def until(self, condition: Callable[[], bool], name: str) -> None:
        """Wait for something.

        Raises:
            NoJobError: It did not come about in time.
        """
        while not condition():
            now, since = time.monotonic(), self.remarks.since
            if now > self.deadline or (since is not None and now - since > BRIEF):
                raise NoJobError(f"{name[0].lower()}{name[1:]}: it was never seen to be so")
            await asyncio.sleep(0.1)

    async def unseen_end(self, name: str, watch: Watch) -> None:
        """Conclude that a job's end was not seen."""
        remark = next((text for text in self.remarks.texts if "states" in text or "state " in text), "")
        if remark:
            self.fails(name, remark, "states", await self.asked(watch))
            return
        found = f"its end was not seen within {self.timeout:g} s; the last state was {watch.status}"
        self.fails(name, found, "status", (*await self.asked(watch), *self.remarks.texts[-1:]))

    async def vanished(self, name: str, watch: Watch) -> None:
        """Conclude that the status commands forget a job too soon."""
        last = f" after it was {watch.status}" if watch.status.word else ""
        found = f"nothing was said of it any more{last}: status must show jobs for some time after their end"
        self.fails(name, found, "status", await self.asked(watch))

    async def asked(self, watch: Watch) -> tuple[str, ...]:
        """What the status commands say of a job now."""
        with recording() as recorded:
            await self.driver.status([watch.job])
        return self.said(recorded, watch.job)

    def said(self, recorded: Sequence[CommandResult], job: Job) -> tuple[str, ...]:
        """What commands have said, without secrets."""
        return tuple(result.describe(hiding(job.values)) for result in recorded)

    def holds(self, step: str, found: str) -> None:
        """Conclude that the recipe holds."""
        self._conclude(Verdict(step, "holds", found))

    def not_tried(self, step: str, why: str) -> None:
        """Conclude nothing."""
        self._conclude(Verdict(step, "not tried", why))

    def fails(self, step: str, found: str, key: str, evidence: tuple[str, ...] = ()) -> None:
        """Conclude that the recipe does not hold, and where to look."""
        self._conclude(Verdict(step, "fails", found, key, tuple(text for text in evidence if text)))

    def _conclude(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)
        self.tell(verdict)

    # The end.

    async def _look_up(self) -> None:
        """Find the jobs whose submission was interrupted."""
        without_id = [job for job in self._jobs if not job.id]
        if not without_id:
            return
        await asyncio.sleep(self.recipe.policy.visible_after)
        found, trouble = await self.driver.find(without_id)
        self.left += [f"the job with the key {job.key}, if it exists" for job in trouble]
        for job in without_id:
            if job in found:
                self.watches[job] = self.watcher.watch(job, self.driver, lambda _: None)
            elif job not in trouble:
                await self.driver.cleanup(job)

    async def _end(self, watch: Watch) -> None:
        if watch.ended.done() or watch.job not in self.watches:
            return
        status = await end_job(self.watcher, watch, BRIEF)
        if not watch.ended.done() and (status.state.alive or status.state is JobState.UNKNOWN):
            self.left.append(watch.job.pid)

    def _conclude_cleanup(self, troubles: Sequence[str]) -> None:
        if troubles:
            self.fails("Clean-up", "it failed", "cleanup", tuple(troubles))
        elif self.watches:
            self.holds("Clean-up", f"after {len(self.watches)} jobs")
