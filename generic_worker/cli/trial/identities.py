"""The steps of a trial about which job is which: keys, ids that nobody has, ids that come again, and no jobs at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from generic_worker.cli.trial.ids import other_id
from generic_worker.cli.trial.recording import UNLISTED, recording
from generic_worker.cli.trial.trial import EMPTY
from generic_worker.job import JobState
from generic_worker.jobs import clock

if TYPE_CHECKING:
    from generic_worker.cli.trial.trial import Trial
    from generic_worker.job import Job


async def find(trial: Trial, job: Job) -> None:
    """A job is found by its key, and no other is."""
    name = "A job that is looked up by its key"
    if trial.recipe.find is None:
        trial.verdicts.not_tried(name, "the recipe has no find")
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
        trial.verdicts.fails(name, problem, "find", trial.said(recorded[-2:], job))
    else:
        trial.verdicts.holds(name, f"{job.key} is {job.id}, and a key that nobody has is nobody's")


async def disappear(trial: Trial, name: str) -> None:
    """A job that nobody has is proven to be absent."""
    for _ in range(50):  # the ids of two jobs show which part of them is the job's
        if len(trial.watches) > 1 or trial.limits.left < 0:
            break
        await asyncio.sleep(0.2)
    await _absent(trial, name, "")


async def no_jobs(trial: Trial, name: str) -> None:
    """Also when there are no jobs is one that nobody has proven to be absent, and no key is anybody's."""
    stranger = trial.job("true")
    if trial.recipe.find is not None:
        with recording() as recorded:
            found, trouble = await trial.driver.find([stranger])
        if found or trouble:
            problem = trouble.get(stranger) or f"a key that nobody has is said to be that of {stranger.id}"
            said = trial.said(recorded, stranger)
            trial.verdicts.fails(name, f"{problem.partition(': `')[0]}. {EMPTY}", "find", said)
            return
    await _absent(trial, name, f". {EMPTY}")


async def _absent(trial: Trial, name: str, hint: str) -> None:
    known = list(trial.watches)
    ghost = trial.job("true")
    ghost.id, ghost.fields = other_id([job.id for job in known]), dict(known[0].fields)
    with recording() as recorded:
        report = await trial.driver.status([ghost])
    status, key = report.statuses[ghost], "states" if UNLISTED in report.trouble else "status"
    if status.state is JobState.ABSENT:
        trial.verdicts.holds(name, f"{ghost.id}, which nobody has, is proven to be absent")
        return
    if status.state is JobState.UNKNOWN:
        found = (
            f"nothing proves that {ghost.id}, which nobody has, is not there: a lost job's run would never end{hint}"
        )
    else:
        found = f"{ghost.id}, which nobody has, is said to be {status}"
    trial.verdicts.fails(name, found, key, trial.said(recorded, ghost))


async def ids(trial: Trial, name: str) -> None:
    """A new job has not the id of one that has ended, or the key says whose it is."""
    watch = await trial.submit("true")
    job, keyed = watch.job, any("key" in command.output.field_names for command in trial.recipe.statuses)
    if len({(one.scope, one.id) for one in trial.watches}) == len(trial.watches):
        trial.verdicts.holds(name, f"the next job has another: {job.id}")
    elif keyed:
        trial.verdicts.holds(name, f"the next job has it again, {job.id}, and its key says whose it is")
    else:
        found = (
            f"the next job has it again: {job.id}. One that has ended would be taken for another, and "
            "that be cancelled in its place: let status print the job's key too, as `key`"
        )
        trial.verdicts.fails(name, found, "status", await trial.asked(watch))
    await trial.ended(watch)
