"""The steps of a trial that cancel jobs: whether they end, and all of what they have started with them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from generic_worker.cli.trial.descendants import Descendant
from generic_worker.cli.trial.identities import find
from generic_worker.cli.trial.recording import recording
from generic_worker.job import JobState
from generic_worker.jobs.cancellation import end_job
from generic_worker.jobs.outcome import end_message

if TYPE_CHECKING:
    from generic_worker.cli.trial.trial import Trial
    from generic_worker.job import JobStatus
    from generic_worker.jobs.watches import Watch

_PATIENCE = 45.0
"""Seconds in which a cancelled job has to end: many schedulers give one 30 between SIGTERM and SIGKILL."""


async def cancel_waiting(trial: Trial, name: str) -> None:
    """A job that waits is cancelled; where none can be made to wait, one that was just submitted."""
    watch = await trial.submit(f"sleep {trial.long}", variables=trial.waiting)
    if trial.waiting and not await trial.reached(watch, lambda: watch.status.state is not JobState.UNKNOWN):
        await trial.unseen(name, watch)
        return
    seen = watch.status.state
    await _cancel(trial, name, watch, "it was waiting" if seen is JobState.PENDING else "right after its submission")


async def cancel_running(trial: Trial, name: str) -> None:
    """A job that runs is cancelled, and its child, which is in a session of its own, ends too."""
    child = Descendant()
    watch = await trial.submit(child.script(trial.long))
    if not await _runs(trial, name, watch):
        return
    await find(trial, watch.job)
    await _cancel(trial, name, watch, "it was running", child)


async def ignore_term(trial: Trial, name: str) -> None:
    """A job that does not end for SIGTERM ends all the same, and so does its child."""
    child = Descendant()
    watch = await trial.submit(child.script(trial.long, "trap '' TERM; "))
    if not await _runs(trial, name, watch):
        return
    await asyncio.sleep(1)  # its shell may not have got to the trap yet
    await _cancel(trial, name, watch, "it was running", child)


async def _runs(trial: Trial, name: str, watch: Watch) -> bool:
    """Whether a job was seen running; otherwise what that means is concluded."""
    seen = await trial.reached(watch, lambda: watch.status.state is JobState.RUNNING)
    if not seen:
        await trial.unseen(name, watch)
    elif watch.ended.done():
        found = f"it ended before it was cancelled: {watch.ended.result()}"
        trial.verdicts.not_known(name, found, "status", await trial.asked(watch))
    return seen and not watch.ended.done()


async def _cancel(trial: Trial, name: str, watch: Watch, when: str, child: Descendant | None = None) -> None:
    seen = bool(child and child.pids())
    begin, least = time.monotonic(), max(_PATIENCE, 2 * trial.recipe.policy.grace * len(trial.recipe.cancels))

    def over() -> bool:
        return time.monotonic() - begin > trial.limits.grown(least) or trial.limits.left < 0

    with recording() as recorded:
        status = await end_job(trial.watcher, watch, max(min(trial.limits.grown(least), trial.limits.left), 1))
        while not (watch.ended.done() or over()):
            await asyncio.wait({watch.ended}, timeout=0.5)
            status = watch.status
    seconds = time.monotonic() - begin
    if watch.ended.done():
        await _conclude(trial, name, watch, f"{when}; %s after {seconds:.0f} s", child if seen else None)
    elif status.state is JobState.UNKNOWN:
        await trial.unseen(name, watch)
    else:
        count = len(trial.recipe.cancels)
        steps = "the cancel command" if count == 1 else f"all {count} cancel commands"
        found, said = f"it is {status} after {steps} and {seconds:.0f} s", trial.said(recorded, watch.job)
        if seconds < trial.limits.grown(least):
            trial.verdicts.not_known(name, f"{found}, when {trial.limits.over()}", "cancel", said)
        else:
            trial.verdicts.fails(name, found, "cancel", said)


async def _conclude(trial: Trial, name: str, watch: Watch, how: str, child: Descendant | None) -> None:
    """Conclude what a job is that was cancelled and has ended."""
    status: JobStatus = watch.ended.result()
    gone = "gone" if status.state is JobState.ABSENT else str(status)
    left = await child.left(trial.limits) if child else []
    if left:
        pids = ", ".join(map(str, left))
        found = f"{how % gone}, and yet a process that it has started runs on: {pids}. A cancelled flow would go on"
        trial.verdicts.fails(name, found, "cancel", await trial.asked(watch))
    elif status.state is JobState.SUCCEEDED:
        message = end_message(watch.job, status)
        found = f"{how % gone}: it is taken for succeeded. Should somebody else end a job, users see: {message}"
        trial.verdicts.warns(name, found, "states", await trial.asked(watch))
    else:
        trial.verdicts.holds(name, how % gone + ("; nothing of it is left" if child else ""))
