"""Submitting a job at most once: a submission that was not answered is looked up before it is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn, Protocol

from generic_worker.errors import SubmitError
from generic_worker.jobs import clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generic_worker.job import Job
    from generic_worker.language.recipe import Recipe

_FIRST_WAIT, _LONGEST_WAIT = 2.0, 300.0
"""Seconds between two tries, at first and at most."""

Permit = Callable[[], Awaitable[tuple[str, str]]]
"""Asked when a submission's turn has come: `go`, `begun` (the job is there already) or `stop`; and why."""


class Submitter(Protocol):
    """What submitting needs of a driver."""

    recipe: Recipe

    async def try_submit(self, job: Job, permit: Permit | None = None) -> tuple[str, str]:
        """Run the submit command once, if that is permitted; returns the outcome and what was said."""

    async def find(self, jobs: Sequence[Job]) -> tuple[set[Job], dict[Job, str]]:
        """Look jobs up by their keys; returns those that exist, and why others could not be looked up."""

    def discard(self, job: Job) -> None:
        """Remove what was prepared for a job."""


async def submit_job(
    driver: Submitter, job: Job, stop: asyncio.Event | None = None, permit: Permit | None = None
) -> None:
    """Submit a job until there is exactly one, or none for certain.

    Args:
        driver: Runs the commands.
        job: The job.
        stop: When it is set, a submission that has failed is not tried again.
        permit: Asked before each try.

    Raises:
        SubmitError: It was not permitted, the infrastructure refused the job, or nobody can say whether it exists.
    """
    name, give_up = driver.recipe.name, clock.now() + driver.recipe.policy.retry_for
    for wait in _waits(_FIRST_WAIT):
        outcome, said = await driver.try_submit(job, permit)
        if outcome == "submitted":
            return
        if outcome in {"refused", "stop"}:  # before another try it was proven that there is none
            driver.discard(job)
            raise SubmitError(said if outcome == "stop" else f"{name}: submit: {said}")
        if driver.recipe.find is not None:
            if await _exists(driver, job):
                return
            if outcome == "begun":  # so it is there, whatever the answer says
                await asyncio.sleep(wait)
                continue
        elif outcome in {"ambiguous", "begun"}:
            may_exist = f"The job may exist: look for {job.key}."
            raise SubmitError(f"{name}: submit: no job id. {may_exist}\n{said}", ambiguous=True)
        if clock.now() + wait > give_up or (stop is not None and stop.is_set()):
            _give_up(driver, job, said)
        await _sleep(wait, stop)
        if stop is not None and stop.is_set():
            _give_up(driver, job, said)


async def _exists(driver: Submitter, job: Job) -> bool:
    """Whether an unanswered submission has made a job, which then has its id.

    Asks until there is an answer, however long: a guess would lose the job, or run it twice.
    """
    visible = False
    for wait in _waits(driver.recipe.policy.visible_after):
        found, trouble = await driver.find([job])
        if job in found:
            return True
        if visible and not trouble:
            return False
        await asyncio.sleep(wait)
        visible = True
    return False


def _give_up(driver: Submitter, job: Job, said: str) -> NoReturn:
    text = f"{driver.recipe.name}: submit: {said}\nIt is not tried again."
    if driver.recipe.find is None:
        raise SubmitError(f"{text} The job may exist: look for {job.key}.", ambiguous=True)
    driver.discard(job)
    raise SubmitError(text)


def _waits(first: float) -> Iterator[float]:
    """Seconds to wait between tries: twice as long each time, up to five minutes, with jitter."""
    wait = max(first, 0.1)
    while True:
        yield wait * random.uniform(1.0, 1.3)  # noqa: S311 - jitter
        wait = min(wait * 2, _LONGEST_WAIT)


async def _sleep(seconds: float, stop: asyncio.Event | None) -> None:
    """Sleep, but not longer than until `stop` is set."""
    if stop is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
