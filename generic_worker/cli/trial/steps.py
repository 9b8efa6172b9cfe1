"""The steps of a trial: each submits what it needs, looks at it as a worker would, and concludes what it has found."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from generic_worker.cli.trial.cancelling import cancel_running, cancel_waiting, ignore_term
from generic_worker.cli.trial.environment import environment
from generic_worker.cli.trial.hearing import TOLD, told
from generic_worker.cli.trial.identities import disappear, ids, no_jobs
from generic_worker.cli.trial.recording import recording
from generic_worker.cli.trial.trial import NoJobError
from generic_worker.job import JobState
from generic_worker.jobs.outcome import end_message
from generic_worker.jobs.preflight import missing_programs, preflight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from generic_worker.cli.trial.trial import Trial
    from generic_worker.job import Job
    from generic_worker.jobs.watches import Watch

_EXIT, _CLOCK = 7, 50
"""Exit codes by which jobs tell what they have seen; a clock's is followed by the seconds of the epoch modulo 50."""


async def run(trial: Trial) -> None:
    """Try everything. The first job shows whether there is any use in the others."""
    problems = await preflight(trial.recipe, trial.runner, trial.variables)
    if problems:
        key = "requires" if missing_programs(trial.recipe) else "check"
        trial.verdicts.fails("Preflight", " ".join(problems), key)
        return
    trial.verdicts.holds("Preflight", "what the recipe requires is there")
    last_steps = _LAST_STEPS | ({TOLD: told} if trial.recipe.watch else {})
    first = asyncio.create_task(_step(trial, "A job that succeeds", _succeed))
    await asyncio.wait({first, asyncio.create_task(trial.answered.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if not trial.watches:
        await first
        for name in (*_STEPS, *last_steps):
            trial.verdicts.not_tried(name, "no job could be submitted")
        return
    await asyncio.gather(first, *(_step(trial, name, step) for name, step in _STEPS.items()))
    await trial.clear()
    for name, step in last_steps.items():
        await _step(trial, name, step)


async def _step(trial: Trial, name: str, step: Callable[[Trial, str], Awaitable[None]]) -> None:
    try:
        await step(trial, name)
    except NoJobError as error:
        trial.verdicts.not_tried(name, str(error))


async def _succeed(trial: Trial, name: str) -> None:
    watch = await trial.submit("sleep 2")
    status = await trial.ended(watch)
    if status is None:
        await trial.unseen(name, watch)
    elif status.state is JobState.SUCCEEDED:
        trial.verdicts.holds(name, f"{status}")
    elif status.state is JobState.ABSENT:
        await trial.vanished(name, watch)
    elif trial.is_untold(status):
        trial.verdicts.holds(name, f"{status}; how it ended, only its flow run says")
    else:
        key = "submit" if status.exit_code else "states"
        said = await trial.driver.logs(watch.job)
        trial.verdicts.fails(
            name, f"it ended as {status}, and should have succeeded", key, (*await trial.asked(watch), said)
        )


async def _fail(trial: Trial, name: str) -> None:
    watch = await trial.submit(f"echo last words; sleep 1; exit {_EXIT}")
    status = await trial.ended(watch)
    if status is None:
        await trial.unseen(name, watch)
        return
    status = await trial.driver.explain(watch.job, status)
    if status.state is JobState.ABSENT:
        await trial.vanished(name, watch)
    elif trial.is_untold(status):
        trial.verdicts.holds(name, f"{status}; how it ended, only its flow run says")
    elif status.state is not JobState.FAILED:
        found = f"it is taken for {status.state.value} ({status}), and has failed"
        trial.verdicts.fails(name, found, "states", await trial.asked(watch))
    elif status.exit_code not in {_EXIT, None}:
        trial.verdicts.fails(name, f"it is shown as {status}", "status", await trial.asked(watch))
    else:
        trial.verdicts.holds(name, f"{status}" if status.exit_code else f"{status}; its exit code is not shown")
    await _logs(trial, watch.job)


async def _killed(trial: Trial, name: str) -> None:
    watch = await trial.submit(
        "sleep 1; kill -KILL $$; exit 137"
    )  # the first process of a container cannot kill itself
    status = await trial.ended(watch)
    if status is None:
        await trial.unseen(name, watch)
        return
    status = await trial.driver.explain(watch.job, status)
    if status.state is JobState.ABSENT:
        await trial.vanished(name, watch)
    elif status.state is JobState.SUCCEEDED:
        found = (
            f"it is taken for succeeded; of a flow run whose job is killed users see: {end_message(watch.job, status)}"
        )
        trial.verdicts.warns(name, found, "states", await trial.asked(watch))
    else:
        untold = "; how it ended, only its flow run says" if trial.is_untold(status) else ""
        trial.verdicts.holds(name, f"{status}{untold}")


async def _logs(trial: Trial, job: Job) -> None:
    name = "The last lines of its output"
    if trial.recipe.logs is None:
        trial.verdicts.not_tried(name, "the recipe has no logs")
        return
    with recording() as recorded:
        said = await trial.driver.logs(job)
    if "last words" in said:
        trial.verdicts.holds(name, "they are shown")
    else:
        trial.verdicts.fails(name, "they are not what the job printed", "logs", trial.said(recorded, job))


async def _five(trial: Trial, name: str) -> None:
    shown_after = trial.recipe.policy.visible_after
    seconds = round(shown_after + 4 + 2 * trial.runner.slowest)  # they are to be asked about while they run
    script = f"sleep {seconds}; exit $(({_CLOCK} + $(date +%s) % 50))"
    watches = await asyncio.gather(*(trial.submit(script) for _ in range(5)))
    await asyncio.sleep(shown_after)
    jobs = [watch.job for watch in watches]
    with recording() as recorded:
        report = await trial.driver.status(jobs)
    silent = {JobState.UNKNOWN} if trial.recipe.policy.absent == "ended" else {JobState.UNKNOWN, JobState.ABSENT}
    unseen = [job.id for job in jobs if report.statuses[job].state in silent]
    if unseen and not any(watch.ended.done() for watch in watches):
        found = f"of {', '.join(unseen)} nothing was said"
        trial.verdicts.fails(name, found, "states" if report.remarks else "status", trial.said(recorded, jobs[0]))
        return
    count = f"{len(recorded)} status command{'s' if len(recorded) > 1 else ''} for 5 jobs"
    trial.verdicts.holds(name, count)
    delays = [
        delay for delay in await asyncio.gather(*(_delay(trial, watch) for watch in watches)) if delay is not None
    ]
    if delays:
        trial.timings["end_noticed"] = max(delays)


async def _delay(trial: Trial, watch: Watch) -> float | None:
    """Seconds from a job's end, which its exit code tells, until it was noticed."""
    status = await trial.ended(watch)
    now = time.time()
    code = (await trial.driver.explain(watch.job, status)).exit_code if status is not None else None
    return (now - (code - _CLOCK)) % 50 if code and code >= _CLOCK else None


_STEPS = {
    "A job that exits 7": _fail,
    "A job that is killed": _killed,
    "Environment values with line breaks, quotes and unicode": environment,
    "A job that is cancelled while it waits": cancel_waiting,
    "A job that is cancelled while it runs": cancel_running,
    "A job that ignores SIGTERM": ignore_term,
    "A job that has disappeared": disappear,
    "Five jobs in one status command": _five,
}
_LAST_STEPS = {
    "When there are no jobs": no_jobs,
    "The id of a job that has ended": ids,
}
