"""The steps of a trial: each submits what it needs, looks at it as a worker would, and concludes what it has found."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

from generic_worker.cli.trial.recording import recording
from generic_worker.cli.trial.trial import NoJobError
from generic_worker.job import JobState
from generic_worker.jobs import clock
from generic_worker.jobs.cancellation import end_job
from generic_worker.jobs.preflight import missing_programs, preflight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from generic_worker.cli.trial.trial import Trial
    from generic_worker.job import Job, JobStatus
    from generic_worker.jobs.watches import Watch

_LONG = 120
"""Seconds that a job runs which is to be cancelled. Should that fail, it ends by itself."""
_PATIENCE = 45.0
"""Seconds in which a cancelled job has to end: many schedulers give one 30 between SIGTERM and SIGKILL."""
_HOSTILE = {
    "TRY_LINES": "first\nsecond\n\n\tfourth",
    "TRY_QUOTES": 'it\'s "quoted" `id` $HOME \\ %s * ; | & < > #!',
    "TRY_UNICODE": "gr\u00fc\u00dfe \u4e16\u754c \U0001f680",
    "TRY_SPACES": "  two before, two after  ",
}
_EXIT, _MISSING, _CHANGED, _CLOCK = 7, 20, 30, 50
"""Exit codes by which jobs tell what they have seen; a clock's is followed by the seconds of the epoch modulo 50."""


async def run(trial: Trial) -> None:
    """Try everything. The first job shows whether there is any use in the others."""
    problems = await preflight(trial.recipe, trial.runner, trial.variables)
    if problems:
        trial.fails("Preflight", " ".join(problems), "requires" if missing_programs(trial.recipe) else "check")
        return
    trial.holds("Preflight", "what the recipe requires is there")
    first = asyncio.create_task(_step(trial, "A job that succeeds", _succeed))
    await asyncio.wait({first, asyncio.create_task(trial.answered.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if trial.watches:
        await asyncio.gather(first, *(_step(trial, name, step) for name, step in _STEPS.items()))
        return
    await first
    for name in _STEPS:
        trial.not_tried(name, "no job could be submitted")


async def _step(trial: Trial, name: str, step: Callable[[Trial, str], Awaitable[None]]) -> None:
    try:
        await step(trial, name)
    except NoJobError as error:
        trial.not_tried(name, str(error))


async def _succeed(trial: Trial, name: str) -> None:
    watch = await trial.submit("sleep 2")
    status = await trial.ended(watch)
    if status is None:
        await trial.unseen_end(name, watch)
    elif status.state is JobState.SUCCEEDED:
        trial.holds(name, f"{status}")
    elif status.state is JobState.ABSENT:
        await trial.vanished(name, watch)
    elif _untold(trial, status):
        trial.holds(name, f"{status}; how it ended, only its flow run says")
    else:
        key = "submit" if status.exit_code else "states"
        said = await trial.driver.logs(watch.job)
        trial.fails(name, f"it ended as {status}, and should have succeeded", key, (*await trial.asked(watch), said))


async def _fail(trial: Trial, name: str) -> None:
    watch = await trial.submit(f"echo last words; sleep 1; exit {_EXIT}")
    status = await trial.ended(watch)
    if status is None:
        await trial.unseen_end(name, watch)
        return
    status = await trial.driver.explain(watch.job, status)
    if status.state is JobState.ABSENT:
        await trial.vanished(name, watch)
    elif _untold(trial, status):
        trial.holds(name, f"{status}; how it ended, only its flow run says")
    elif status.state is not JobState.FAILED:
        found = f"it is taken for {status.state.value} ({status}), and has failed"
        trial.fails(name, found, "states", await trial.asked(watch))
    elif status.exit_code not in {_EXIT, None}:
        trial.fails(name, f"it is shown as {status}", "status", await trial.asked(watch))
    else:
        trial.holds(name, f"{status}" if status.exit_code else f"{status}; its exit code is not shown")
    await _logs(trial, watch.job)


def _untold(trial: Trial, status: JobStatus) -> bool:
    """Whether a job has ended, and the recipe says that nobody knows how."""
    return status.state is JobState.FINISHED and trial.recipe.policy.absent == "ended"


async def _logs(trial: Trial, job: Job) -> None:
    name = "The last lines of its output"
    if trial.recipe.logs is None:
        trial.not_tried(name, "the recipe has no logs")
        return
    with recording() as recorded:
        said = await trial.driver.logs(job)
    if "last words" in said:
        trial.holds(name, "they are shown")
    else:
        trial.fails(name, "they are not what the job printed", "logs", trial.said(recorded, job))


async def _environment(trial: Trial, name: str) -> None:
    watch = await trial.submit(_environment_check(), env=_HOSTILE)
    status = await trial.ended(watch)
    if status is None or status.state is JobState.ABSENT:
        trial.not_tried(name, "the end of its job was not seen")
        return
    status = await trial.driver.explain(watch.job, status)
    if _untold(trial, status):
        trial.not_tried(name, "nothing says how its job ended")
        return
    if status.state is JobState.SUCCEEDED:
        trial.holds(name, f"{len(_HOSTILE)} values arrived as they were")
        return
    number = (status.exit_code or 0) % 10
    which = list(_HOSTILE)[number] if number < len(_HOSTILE) else "a value"
    lost = f"{which} is not in the job's environment" if (status.exit_code or 0) < _CHANGED else f"{which} is changed"
    hint = "a job's environment reaches it through job_script, or env in run, stdin, files or env of submit"
    trial.fails(name, f"{lost} (the job ended as {status}); {hint}", "submit")


async def _cancel_waiting(trial: Trial, name: str) -> None:
    watch = await trial.submit(f"sleep {_LONG}", variables=trial.waiting)
    if trial.waiting:
        await trial.until(lambda: watch.status.state is not JobState.UNKNOWN, name)
    seen = watch.status.state
    await _cancel(trial, name, watch, "it was waiting" if seen is JobState.PENDING else "right after its submission")


async def _cancel_running(trial: Trial, name: str) -> None:
    watch = await trial.submit(f"sleep {_LONG}")
    await trial.until(lambda: watch.status.state is JobState.RUNNING or watch.ended.done(), name)
    await _find(trial, watch.job)
    await _cancel(trial, name, watch, "it was running")


async def _ignore_term(trial: Trial, name: str) -> None:
    watch = await trial.submit(f"trap '' TERM; sleep {_LONG // 2}; sleep {_LONG // 2}")
    await trial.until(lambda: watch.status.state is JobState.RUNNING or watch.ended.done(), name)
    await asyncio.sleep(1)  # its shell may not have got to the trap yet
    await _cancel(trial, name, watch, "it was running")


async def _cancel(trial: Trial, name: str, watch: Watch, when: str) -> None:
    patience = max(_PATIENCE, 2 * trial.recipe.policy.grace * len(trial.recipe.cancels))
    begin = time.monotonic()
    with recording() as recorded:
        status = await end_job(trial.watcher, watch, patience)
        while status.state.alive and not watch.ended.done() and time.monotonic() - begin < patience:
            await asyncio.wait({watch.ended}, timeout=0.5)
    status = watch.ended.result() if watch.ended.done() else status
    if status.state is JobState.UNKNOWN:
        await trial.unseen_end(name, watch)
    elif status.state.alive:
        count = len(trial.recipe.cancels)
        steps = "the cancel command" if count == 1 else f"all {count} cancel commands"
        found = f"it is {status} after {steps} and {time.monotonic() - begin:.0f} s"
        trial.fails(name, found, "cancel", trial.said(recorded, watch.job))
    else:
        gone = "gone" if status.state is JobState.ABSENT else str(status)
        trial.holds(name, f"{when}; {gone} after {time.monotonic() - begin:.0f} s")


async def _find(trial: Trial, job: Job) -> None:
    name = "A job that is looked up by its key"
    if trial.recipe.find is None:
        trial.not_tried(name, "the recipe has no find")
        return
    same, other = trial.job("true", key=job.key), trial.job("true")
    with recording() as recorded:
        found, trouble = await trial.driver.find([same, other])
        for _ in range(10):
            if same in found or clock.now() - job.born > trial.recipe.policy.visible_after:
                break
            await asyncio.sleep(trial.recipe.policy.visible_after / 10)
            found, trouble = await trial.driver.find([same, other])
    problem = next(iter(trouble.values()), "")
    if other in found:
        problem = f"a key that nobody has is said to be that of {other.id}"
    elif same not in found or same.id != job.id:
        problem = problem or f"{job.key} should be found as {job.id}, and is {same.id or 'not found'}"
    if problem:
        trial.fails(name, problem, "find", trial.said(recorded[-2:], job))
    else:
        trial.holds(name, f"{job.key} is {job.id}, and a key that nobody has is nobody's")


async def _disappear(trial: Trial, name: str) -> None:
    real = next(iter(trial.watches)).id
    ghost = trial.job("true")
    ghost.id, ghost.fields = _other_id(real), dict(next(iter(trial.watches)).fields)
    with recording() as recorded:
        report = await trial.driver.status([ghost])
    status = report.statuses[ghost]
    if status.state is JobState.ABSENT:
        trial.holds(name, f"{ghost.id}, which nobody has, is proven to be absent")
    elif status.state is JobState.UNKNOWN:
        found = f"nothing proves that {ghost.id}, which nobody has, is not there: a lost job's run would never end"
        trial.fails(name, found, "status", trial.said(recorded, ghost))
    else:
        trial.fails(
            name, f"{ghost.id}, which nobody has, is said to be {status}", "status", trial.said(recorded, ghost)
        )


async def _five(trial: Trial, name: str) -> None:
    script = f"sleep 4; exit $(({_CLOCK} + $(date +%s) % 50))"
    watches = await asyncio.gather(*(trial.submit(script) for _ in range(5)))
    await asyncio.sleep(trial.recipe.policy.visible_after)
    jobs = [watch.job for watch in watches]
    with recording() as recorded:
        report = await trial.driver.status(jobs)
    unseen = [job.id for job in jobs if report.statuses[job].state in {JobState.UNKNOWN, JobState.ABSENT}]
    if unseen and not any(watch.ended.done() for watch in watches):
        found = f"of {', '.join(unseen)} nothing was said"
        trial.fails(name, found, "states" if report.remarks else "status", trial.said(recorded, jobs[0]))
        return
    count = f"{len(recorded)} status command{'s' if len(recorded) > 1 else ''} for 5 jobs"
    trial.holds(name, count)
    delays = [delay for watch in watches if (delay := await _delay(trial, watch)) is not None]
    if delays:
        trial.timings["end_noticed"] = max(delays)


async def _delay(trial: Trial, watch: Watch) -> float | None:
    """Seconds from a job's end, which its exit code tells, until it was noticed."""
    status = await trial.ended(watch)
    now = time.time()
    code = (await trial.driver.explain(watch.job, status)).exit_code if status is not None else None
    return (now - (code - _CLOCK)) % 50 if code and code >= _CLOCK else None


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
    if numbered := re.fullmatch(r"(\d+)(\.[\w.-]+)?", job_id):  # PBS adds its server's name
        return f"{int(numbered[1]) + 1_000_000}{numbered[2] or ''}"
    head, _, tail = job_id.rpartition("/")
    other = re.sub(r"\d", lambda digit: str(9 - int(digit[0])), tail)
    return f"{head}/{other}" if head else other


_STEPS = {
    "A job that exits 7": _fail,
    "Environment values with line breaks, quotes and unicode": _environment,
    "A job that is cancelled while it waits": _cancel_waiting,
    "A job that is cancelled while it runs": _cancel_running,
    "A job that ignores SIGTERM": _ignore_term,
    "A job that has disappeared": _disappear,
    "Five jobs in one status command": _five,
}
