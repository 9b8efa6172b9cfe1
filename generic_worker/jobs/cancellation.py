"""Ending a job step by step, confirmed by its status and never by what a cancel command says. No Prefect."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from generic_worker.job import UNKNOWN, JobStatus
from generic_worker.jobs import clock

if TYPE_CHECKING:
    from generic_worker.jobs.watcher import Watcher
    from generic_worker.jobs.watches import Watch

_IDENTITY_SECONDS = 30.0
"""Seconds for which an answer that the job is alive, or its submission, stands for its identity."""
_SHORTEST_GRACE = 1.0
"""Seconds that a step is given at least: an end is not noticed sooner."""


def _is_ours(watch: Watch) -> bool:
    """Whether the id is certain to be this job's now. One that may be another's is left alone."""
    if watch.foreign or watch.absences or watch.job.claimed:
        return False
    return clock.now() - max(watch.seen, watch.job.born) < _IDENTITY_SECONDS


async def _ended_within(watch: Watch, seconds: float) -> bool:
    await asyncio.wait({watch.ended}, timeout=seconds)
    return watch.ended.done()


async def end_job(watcher: Watcher, watch: Watch, patience: float | None = None) -> JobStatus:
    """Cancel a watched job and wait until it is gone.

    Args:
        watcher: The watcher that watches it.
        watch: The job.
        patience: Seconds to wait for an answer about the job before giving up, with each step taken once.
            Without it, this waits for ever and repeats the last step.

    Returns:
        Its last status: a final one, ABSENT when it has vanished, UNKNOWN when nobody could say anything of it
        in time, and one that is alive when it has survived all steps.
    """
    watcher.hurry(watch)
    policy, last = watch.driver.recipe.policy, len(watch.driver.recipe.cancels) - 1
    step, told = 0, -1
    while step <= last or patience is None:
        since = clock.now()
        while not _is_ours(watch):
            await watch.driver.is_proven(watch.job)
            if await _ended_within(watch, 0.2):
                return watch.ended.result()
            if patience is not None and clock.now() - since > patience:
                return UNKNOWN
        gone, said = await watch.driver.cancel(watch.job, min(step, last))
        if said and not gone and min(step, last) > told:
            told = min(step, last)
            watcher.tell(watch, f"Cancelling: {said}")
        was_silent = watch.silent
        if await _ended_within(watch, max(policy.grace, _SHORTEST_GRACE)):
            return watch.ended.result()
        if not (said and (was_silent or watch.silent)):  # it met a dead infrastructure: it has not been taken
            step += 1
    return watch.status
