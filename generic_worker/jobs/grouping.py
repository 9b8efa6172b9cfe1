"""Which jobs one command answers for: those for which it would be the same, or that it names together. Pure."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from generic_worker.job import Job


def rendering(job: Job, names: frozenset[str]) -> str:
    """What makes a command that uses some names different from the same command for another job."""
    own = sorted(names - {"job_ids"})
    if not own:
        return ""
    submitted = job.submitted
    return repr([submitted.get(name, job.values.get(name)) for name in own])


def grouped(jobs: Iterable[Job], names: frozenset[str], batch: int) -> list[list[Job]]:
    """The jobs for which one command is the same, at most `batch` of them when it names them all.

    Two jobs that have been given the same id are never in one group: its answer would be taken for both.

    Args:
        jobs: The jobs.
        names: What the command names.
        batch: The most jobs that it may name.
    """
    shared: dict[tuple[str, int], list[Job]] = {}
    holders: dict[str, list[str]] = {}
    for job in jobs:
        keys = holders.setdefault(job.id or job.key, [])
        if job.key not in keys:
            keys.append(job.key)
        shared.setdefault((rendering(job, names), keys.index(job.key)), []).append(job)
    size = batch if "job_ids" in names else sys.maxsize
    return [group[at : at + size] for group in shared.values() for at in range(0, len(group), size)]
