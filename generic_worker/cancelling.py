"""Ending a job step by step, confirmed by its status and never by what a cancel command says of itself. No Prefect."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

from generic_worker.jobs import UNKNOWN, JobStatus

if TYPE_CHECKING:
    from generic_worker.watcher import Watch, Watcher

_FRESH = 30.0
"""Seconds for which an answer that the job is alive, or its submission, stands for its identity."""


def _is_ours(watch: Watch) -> bool:
    """Whether the id is certain to be this job's at this moment. An id that may have been given to another is left alone."""
    now = time.monotonic()
    if not watch.answered:
        return now - watch.job.born < _FRESH
    return watch.status.state.alive and not watch.absences and now - watch.answered < _FRESH


async def _ended_within(watch: Watch, seconds: float) -> bool:
    await asyncio.wait({watch.ended}, timeout=seconds)
    return watch.ended.done()


async def end_job(watcher: Watcher, watch: Watch, patience: float | None = None) -> JobStatus:
    """Cancel a watched job and wait until it is gone. The last step is repeated for as long as the caller waits.

    Args:
        watcher: The watcher that watches it.
        watch: The job.
        patience: Seconds to wait for an answer about the job before giving up, with each step taken once; for ever when
            left out.

    Returns:
        Its last status: a final one, ABSENT when it has vanished, UNKNOWN when nobody could say anything about it in
        time, and one that is alive when it has survived all steps.
    """
    watcher.hurry(watch)
    policy, steps = watch.driver.recipe.policy, len(watch.driver.recipe.cancels)
    for step in range(steps) if patience is not None else itertools.chain(range(steps), itertools.repeat(steps - 1)):
        since = time.monotonic()
        while not _is_ours(watch):
            if await _ended_within(watch, 0.2):
                return watch.ended.result()
            if patience is not None and time.monotonic() - since > patience:
                return UNKNOWN
        gone, said = await watch.driver.cancel(watch.job, step)
        if said and not gone:
            watch.tell(f"Cancelling: {said}")
        if await _ended_within(watch, max(policy.grace, 1)):
            return watch.ended.result()
    return watch.status
