"""A live trial of a recipe: real jobs on the author's own infrastructure, and what can be said of the recipe after.

Each step submits what it needs, looks at it as a worker would, and concludes one or more verdicts. No Prefect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shlex
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from generic_worker.cancelling import end_job
from generic_worker.commands import CommandRunner
from generic_worker.driver import Driver
from generic_worker.errors import GenericWorkerError
from generic_worker.jobs import Job, JobState, JobStatus
from generic_worker.preflight import preflight
from generic_worker.rendering import job_values, mask
from generic_worker.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from typing_extensions import Self

    from generic_worker.commands import Command, CommandResult
    from generic_worker.recipe import Recipe
    from generic_worker.watcher import Watch

_POLICY = {"poll": 1.0, "lost_after": 10.0, "grace": 5.0, "retry_for": 20.0}
"""Seconds, at most: a trial is not to take as long as a worker's patience."""
_LONG = 120
"""Seconds that a job runs which is to be cancelled. Should that fail, it ends by itself."""
_BRIEF = 20.0
"""Seconds for which a job is waited for after the recipe was found not to understand an answer."""
_HOSTILE = {
    "TRY_LINES": "first\nsecond\n\n\tfourth",
    "TRY_QUOTES": 'it\'s "quoted" `id` $HOME \\ %s * ; | & < > #!',
    "TRY_UNICODE": "gr\u00fc\u00dfe \u4e16\u754c \U0001f680",
    "TRY_SPACES": "  two before, two after  ",
}
_EXIT, _MISSING, _CHANGED, _CLOCK = 7, 20, 30, 100
"""Exit codes by which jobs tell what they have seen; a clock's is followed by the seconds of the epoch modulo 100."""

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


_tape: ContextVar[list[CommandResult] | None] = ContextVar("tape", default=None)


@contextlib.contextmanager
def _recording() -> Iterator[list[CommandResult]]:
    """What the commands say that are run in this context."""
    tape: list[CommandResult] = []
    token = _tape.set(tape)
    try:
        yield tape
    finally:
        _tape.reset(token)


class _Recorder(CommandRunner):
    async def run(self, command: Command) -> CommandResult:
        result = await super().run(command)
        if (tape := _tape.get()) is not None:
            tape.append(result)
        return result


class _Remarks(logging.Handler):
    """What the watcher finds odd, and since when."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.since: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        self.since = self.since or time.monotonic()


class _NoJobError(Exception):
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
        left: The jobs that could not be ended.
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
        self._runner = _Recorder(policy.commands)
        self._driver = Driver(self.recipe, self._runner)
        self._deadline = time.monotonic() + self.timeout
        self._jobs: list[Job] = []
        self._watches: dict[Job, Watch] = {}
        self._answered = asyncio.Event()
        self._remarks = _Remarks()
        logger = logging.getLogger(f"{__name__}.{id(self)}")
        logger.propagate = False
        logger.addHandler(self._remarks)
        self._watcher = Watcher(logger)

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End every job, and clean up after it."""
        async with self._watcher:
            await self._look_up()
            await asyncio.gather(*(self._end(watch) for watch in self._watches.values()))
            troubles = [await self._driver.cleanup(job) for job in self._jobs if job.id and job.pid not in self.left]
        self._conclude_cleanup([trouble for trouble in troubles if trouble])

    async def run(self) -> None:
        """Try everything."""
        problems = await preflight(self.recipe, self._runner, self.variables)
        if problems:
            self._fails("preflight", " ".join(problems), "check" if self.recipe.check else "requires")
            return
        self._holds("preflight", "what the recipe requires is there")
        steps = [
            self._fail,
            self._environment,
            self._cancel_waiting,
            self._cancel_running,
            self._ignore_term,
            self._disappear,
            self._five,
        ]
        first = asyncio.create_task(self._try(self._succeed))
        await asyncio.wait({first, asyncio.create_task(self._answered.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if self._watches:
            await asyncio.gather(first, *(self._try(step) for step in steps))
            return
        await first
        for step in steps:
            self._not_tried(_name(step), "no job could be submitted")

    async def _try(self, step: Callable[[str], Awaitable[None]]) -> None:
        try:
            await step(_name(step))
        except _NoJobError as error:
            self._not_tried(_name(step), str(error))

    # The steps. Each is called by its first line.

    async def _succeed(self, name: str) -> None:
        """A job that succeeds."""
        watch = await self._submitted("sleep 2")
        status = await self._ended(watch)
        if status is None:
            await self._unseen_end(name, watch)
        elif status.state is JobState.SUCCEEDED:
            self._holds(name, f"{status}")
        elif status.state is JobState.ABSENT:
            await self._vanished(name, watch)
        else:
            key = "submit" if status.exit_code else "states"
            said = await self._driver.logs(watch.job)
            self._fails(
                name, f"it ended as {status}, and should have succeeded", key, (*await self._asked(watch), said)
            )

    async def _fail(self, name: str) -> None:
        """A job that exits 7."""
        watch = await self._submitted(f"echo last words; sleep 1; exit {_EXIT}")
        status = await self._ended(watch)
        if status is None:
            await self._unseen_end(name, watch)
            return
        status = await self._driver.explain(watch.job, status)
        if status.state is JobState.ABSENT:
            await self._vanished(name, watch)
        elif status.state is not JobState.FAILED:
            found = f"it is taken for {status.state.value} ({status}), and has failed"
            self._fails(name, found, "states", await self._asked(watch))
        elif status.exit_code not in {_EXIT, None}:
            self._fails(name, f"it is shown as {status}", "status", await self._asked(watch))
        else:
            self._holds(name, f"{status}" if status.exit_code else f"{status}; its exit code is not shown")
        await self._logs(watch.job)

    async def _logs(self, job: Job) -> None:
        name = "The last lines of its output"
        if self.recipe.logs is None:
            self._not_tried(name, "the recipe has no logs")
            return
        with _recording() as tape:
            said = await self._driver.logs(job)
        if "last words" in said:
            self._holds(name, "they are shown")
        else:
            self._fails(name, "they are not what the job printed", "logs", self._said(tape, job))

    async def _environment(self, name: str) -> None:
        """Environment values with line breaks, quotes and unicode."""
        watch = await self._submitted(_environment_check(), env=_HOSTILE)
        status = await self._ended(watch)
        if status is None or status.state is JobState.ABSENT:
            self._not_tried(name, "the end of its job was not seen")
            return
        status = await self._driver.explain(watch.job, status)
        if status.state is JobState.SUCCEEDED:
            self._holds(name, f"{len(_HOSTILE)} values arrived as they were")
            return
        number = (status.exit_code or 0) % 10
        which = list(_HOSTILE)[number] if number < len(_HOSTILE) else "a value"
        lost = (
            f"{which} is not in the job's environment" if (status.exit_code or 0) < _CHANGED else f"{which} is changed"
        )
        hint = "a job's environment reaches it through job_script, or env in run, stdin, files or env of submit"
        self._fails(name, f"{lost} (the job ended as {status}); {hint}", "submit")

    async def _cancel_waiting(self, name: str) -> None:
        """A job that is cancelled while it waits."""
        watch = await self._submitted(f"sleep {_LONG}", variables=self.waiting)
        if self.waiting:
            await self._until(lambda: watch.status.state is not JobState.UNKNOWN, name)
        seen = watch.status.state
        await self._cancel(name, watch, "it was waiting" if seen is JobState.PENDING else "right after its submission")

    async def _cancel_running(self, name: str) -> None:
        """A job that is cancelled while it runs."""
        watch = await self._submitted(f"sleep {_LONG}")
        await self._until(lambda: watch.status.state is JobState.RUNNING or watch.ended.done(), name)
        await self._find(watch.job)
        await self._cancel(name, watch, "it was running")

    async def _ignore_term(self, name: str) -> None:
        """A job that ignores SIGTERM."""
        watch = await self._submitted(f"trap '' TERM; sleep {_LONG // 2}; sleep {_LONG // 2}")
        await self._until(lambda: watch.status.state is JobState.RUNNING or watch.ended.done(), name)
        await asyncio.sleep(1)  # its shell may not have got to the trap yet
        await self._cancel(name, watch, "it was running")

    async def _cancel(self, name: str, watch: Watch, when: str) -> None:
        patience = max(20.0, 2 * self.recipe.policy.grace * len(self.recipe.cancels))
        begin = time.monotonic()
        with _recording() as tape:
            status = await end_job(self._watcher, watch, patience)
            while status.state.alive and not watch.ended.done() and time.monotonic() - begin < patience:
                await asyncio.wait({watch.ended}, timeout=0.5)
        status = watch.ended.result() if watch.ended.done() else status
        if status.state is JobState.UNKNOWN:
            await self._unseen_end(name, watch)
        elif status.state.alive:
            count = len(self.recipe.cancels)
            steps = "the cancel command" if count == 1 else f"all {count} cancel commands"
            found = f"it is {status} after {steps} and {time.monotonic() - begin:.0f} s"
            self._fails(name, found, "cancel", self._said(tape, watch.job))
        else:
            gone = "gone" if status.state is JobState.ABSENT else str(status)
            self._holds(name, f"{when}; {gone} after {time.monotonic() - begin:.0f} s")

    async def _find(self, job: Job) -> None:
        name = "A job that is looked up by its key"
        if self.recipe.find is None:
            self._not_tried(name, "the recipe has no find")
            return
        same, stranger = self._job("true", key=job.key), self._job("true")
        with _recording() as tape:
            found, trouble = await self._driver.find([same, stranger])
            for _ in range(10):
                if same in found or time.monotonic() - job.born > self.recipe.policy.visible_after:
                    break
                await asyncio.sleep(self.recipe.policy.visible_after / 10)
                found, trouble = await self._driver.find([same, stranger])
        problem = next(iter(trouble.values()), "")
        if stranger in found:
            problem = f"a key that nobody has is said to be that of {stranger.id}"
        elif same not in found or same.id != job.id:
            problem = problem or f"{job.key} should be found as {job.id}, and is {same.id or 'not found'}"
        if problem:
            self._fails(name, problem, "find", self._said(tape[-2:], job))
        else:
            self._holds(name, f"{job.key} is {job.id}, and a key that nobody has is nobody's")

    async def _disappear(self, name: str) -> None:
        """A job that has disappeared."""
        real = next(iter(self._watches)).id
        ghost = self._job("true")
        ghost.id, ghost.fields = _other_id(real), dict(next(iter(self._watches)).fields)
        with _recording() as tape:
            report = await self._driver.status([ghost])
        status = report.statuses[ghost]
        if status.state is JobState.ABSENT:
            self._holds(name, f"{ghost.id}, which nobody has, is proven to be absent")
        elif status.state is JobState.UNKNOWN:
            found = f"nothing proves that {ghost.id}, which nobody has, is not there: a lost job's run would never end"
            self._fails(name, found, "status", self._said(tape, ghost))
        else:
            self._fails(
                name, f"{ghost.id}, which nobody has, is said to be {status}", "status", self._said(tape, ghost)
            )

    async def _five(self, name: str) -> None:
        """Five jobs in one status command."""
        script = f"sleep 4; exit $(({_CLOCK} + $(date +%s) % 100))"
        watches = await asyncio.gather(*(self._submitted(script) for _ in range(5)))
        await asyncio.sleep(self.recipe.policy.visible_after)
        jobs = [watch.job for watch in watches]
        with _recording() as tape:
            report = await self._driver.status(jobs)
        unseen = [job.id for job in jobs if report.statuses[job].state in {JobState.UNKNOWN, JobState.ABSENT}]
        if unseen and not any(watch.ended.done() for watch in watches):
            found = f"of {', '.join(unseen)} nothing was said"
            self._fails(name, found, "states" if report.remarks else "status", self._said(tape, jobs[0]))
            return
        count = f"{len(tape)} status command{'s' if len(tape) > 1 else ''} for 5 jobs"
        self._holds(name, count)
        delays = [delay for watch in watches if (delay := await self._delay(watch)) is not None]
        if delays:
            self.timings["end_noticed"] = max(delays)

    async def _delay(self, watch: Watch) -> float | None:
        """Seconds from a job's end, which its exit code tells, until it was noticed."""
        status = await self._ended(watch)
        now = time.time()
        if status is None or not status.exit_code or status.exit_code < _CLOCK:
            return None
        return (now - (status.exit_code - _CLOCK)) % 100

    # What the steps have in common.

    def _job(
        self,
        script: str,
        env: Mapping[str, str] | None = None,
        variables: Mapping[str, Any] | None = None,
        key: str = "",
    ) -> Job:
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
        return Job(key, values, self.recipe.name, self._driver.scope(values))

    async def _submitted(
        self, script: str, env: Mapping[str, str] | None = None, variables: Mapping[str, Any] | None = None
    ) -> Watch:
        """Submit a job and watch it. The first one shows how well the recipe submits."""
        job, first, begin = self._job(script, env, variables), not self._jobs, time.monotonic()
        self._jobs.append(job)
        with _recording() as tape:
            try:
                await asyncio.wait_for(self._driver.submit(job), max(self._deadline - begin, 1))
            except asyncio.TimeoutError:
                error: str = f"no job within {self.timeout:g} s"
            except GenericWorkerError as caught:
                error = str(caught)
            else:
                error = ""
        seconds = time.monotonic() - begin
        if first or error:
            self._conclude_submission(job, tape, error, seconds)
        if error:
            raise _NoJobError("its job was not submitted")
        seen = asyncio.get_running_loop().time()

        def tell(news: JobStatus | str) -> None:
            if first and isinstance(news, JobStatus):
                self.timings.setdefault("first_seen", asyncio.get_running_loop().time() - seen)

        watch = self._watches[job] = self._watcher.watch(job, self._driver, tell)
        self._answered.set()
        return watch

    def _conclude_submission(self, job: Job, tape: Sequence[CommandResult], error: str, seconds: float) -> None:
        name, evidence = "Submission", self._said(tape[:1], job)
        understood = bool(tape) and tape[0].exit_code == 0
        if error:
            self._fails(name, error, "submit.output" if understood else "submit", evidence)
        elif len(tape) > 1 and understood:
            found = f"the command exited 0 and its output yields no id; the job was found by its key as {job.id}"
            self._fails(name, found, "submit.output", evidence)
        else:
            self.timings["submit"] = seconds
            self._holds(name, f"the job is {job.id}")

    async def _ended(self, watch: Watch) -> JobStatus | None:
        """A job's end; None when it was not seen in time."""
        while not watch.ended.done():
            now, since = time.monotonic(), self._remarks.since
            if now > self._deadline or (since is not None and now - max(since, watch.changed) > _BRIEF):
                return None
            await asyncio.wait({watch.ended}, timeout=0.2)
        return watch.ended.result()

    async def _until(self, condition: Callable[[], bool], name: str) -> None:
        while not condition():
            now, since = time.monotonic(), self._remarks.since
            if now > self._deadline or (since is not None and now - since > _BRIEF):
                raise _NoJobError(f"{name[0].lower()}{name[1:]}: it was never seen to be so")
            await asyncio.sleep(0.1)

    async def _unseen_end(self, name: str, watch: Watch) -> None:
        """Conclude that a job's end was not seen."""
        remark = next((text for text in self._remarks.texts if "states" in text or "state " in text), "")
        if remark:
            self._fails(name, remark, "states", await self._asked(watch))
            return
        found = f"its end was not seen within {self.timeout:g} s; the last state was {watch.status}"
        self._fails(name, found, "status", (*await self._asked(watch), *self._remarks.texts[-1:]))

    async def _vanished(self, name: str, watch: Watch) -> None:
        last = f" after it was {watch.status}" if watch.status.word else ""
        found = f"nothing was said of it any more{last}: status must show jobs for some time after their end"
        self._fails(name, found, "status", await self._asked(watch))

    async def _asked(self, watch: Watch) -> tuple[str, ...]:
        """What the status commands say of a job now."""
        with _recording() as tape:
            await self._driver.status([watch.job])
        return self._said(tape, watch.job)

    def _said(self, tape: Sequence[CommandResult], job: Job) -> tuple[str, ...]:
        return tuple(mask(result.describe(), job.values) for result in tape)

    def _holds(self, step: str, found: str) -> None:
        self._conclude(Verdict(step, "holds", found))

    def _not_tried(self, step: str, why: str) -> None:
        self._conclude(Verdict(step, "not tried", why))

    def _fails(self, step: str, found: str, key: str, evidence: tuple[str, ...] = ()) -> None:
        self._conclude(Verdict(step, "fails", found, key, tuple(text for text in evidence if text)))

    def _conclude(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)
        self.tell(verdict)

    # The end.

    async def _look_up(self) -> None:
        """Find the jobs whose submission was interrupted."""
        nameless = [job for job in self._jobs if not job.id]
        if not nameless:
            return
        await asyncio.sleep(self.recipe.policy.visible_after)
        found, trouble = await self._driver.find(nameless)
        self.left += [f"the job with the key {job.key}, if it exists" for job in trouble]
        for job in nameless:
            if job in found:
                self._watches[job] = self._watcher.watch(job, self._driver, lambda _: None)
            else:
                self._driver.discard(job)

    async def _end(self, watch: Watch) -> None:
        if watch.ended.done() or watch.job not in self._watches:
            return
        status = await end_job(self._watcher, watch, 2 * _BRIEF)
        if not watch.ended.done() and (status.state.alive or status.state is JobState.UNKNOWN):
            self.left.append(watch.job.pid)

    def _conclude_cleanup(self, troubles: Sequence[str]) -> None:
        if troubles:
            self._fails("Clean-up", "it failed", "cleanup", tuple(troubles))
        elif self._watches:
            self._holds("Clean-up", f"after {len(self._watches)} jobs")


def _name(step: Callable[[str], Awaitable[None]]) -> str:
    return (step.__doc__ or "").rstrip(".")


def _environment_check() -> str:
    """A script whose exit code says which value is missing or changed; the values themselves are in no argument."""
    checks = []
    for number, (name, value) in enumerate(_HOSTILE.items()):
        expected = "".join(f"\\{byte:03o}" for byte in f"{value}x".encode())
        checks.append(f'[ "${{{name}+x}}" ] || exit {_MISSING + number}')
        checks.append(f'[ "${{{name}}}x" = "$(printf \'{expected}\')" ] || exit {_CHANGED + number}')
    return "; ".join(checks)


def _other_id(job_id: str) -> str:
    """An id of the same shape that no job has."""
    if job_id.isdecimal():
        return str(int(job_id) + 1_000_000)
    head, _, tail = job_id.rpartition("/")
    other = re.sub(r"\d", lambda digit: str(9 - int(digit[0])), tail)
    return f"{head}/{other}" if head else other
