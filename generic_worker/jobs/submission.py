"""Submitting a job at most once: a failed submission proves nothing, so the job is looked up first."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from generic_worker.commands.programs import Holds, always
from generic_worker.errors import SubmitError
from generic_worker.jobs import clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generic_worker.job import Job
    from generic_worker.language.recipe import Recipe

_FIRST_WAIT, _LONGEST_WAIT = 2.0, 300.0
"""Seconds between two tries, at first and at most."""
_FIRST_REMINDER, _LAST_REMINDER = 60.0, 3600.0
"""Seconds between two log lines about one and the same trouble, at first and at most."""

Permit = Callable[[], Awaitable[tuple[str, str]]]
"""Asked when a submission's turn has come: `go`, `begun` (the job is there already) or `stop`; and why."""


async def _always() -> tuple[str, str]:
    return "go", ""


def _to_nobody(_: str) -> None:
    pass


@dataclass(slots=True)
class Caller:
    """Who wants a job to be submitted.

    Attributes:
        stop: Set when the job is not wanted any more.
        permit: Asked before each try.
        holds: Whether what `permit` has said last still holds; asked when the command is about to start, in any thread.
        tell: Called with what the flow run's log should say meanwhile.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    permit: Permit = _always
    holds: Holds = always
    tell: Callable[[str], None] = _to_nobody


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one try to submit a job came out.

    Attributes:
        outcome: As in `SubmitAnswer` or `Permit`.
        said: What was said, for people.
        nothing_done: Whether it is proven that there is no job.
    """

    outcome: str
    said: str
    nothing_done: bool = False


class Submitter(Protocol):
    """What submitting needs of a driver."""

    recipe: Recipe

    async def try_submit(self, job: Job, caller: Caller) -> Attempt:
        """Run the submit command once, if that is permitted. A submitted job has its id."""

    async def find(self, jobs: Sequence[Job]) -> tuple[set[Job], dict[Job, str]]:
        """Look jobs up by their keys; returns those that exist, and why others could not be looked up."""


class Reminder:
    """When a lasting trouble is to be told again: at once, and then after pauses that grow to an hour."""

    def __init__(self) -> None:
        self._due, self._pause = clock.now(), _FIRST_REMINDER

    def is_due(self) -> bool:
        """Whether it is to be told now; then the pause begins."""
        now = clock.now()
        if now < self._due:
            return False
        self._due, self._pause = now + self._pause, min(self._pause * 2, _LAST_REMINDER)
        return True


async def submit_job(driver: Submitter, job: Job, caller: Caller | None = None) -> None:
    """Submit a job until there is exactly one, or none for certain.

    Args:
        driver: Runs the commands.
        job: The job.
        caller: Who wants it.

    Raises:
        SubmitError: It was not permitted, the infrastructure refused the job, or nobody can say whether it exists.
    """
    caller = caller or Caller()
    recipe, give_up = driver.recipe, clock.now() + driver.recipe.policy.retry_for
    for wait in _waits(_FIRST_WAIT):
        attempt = await driver.try_submit(job, caller)
        if attempt.outcome == "submitted":
            return
        if attempt.outcome == "stop":  # before another try it was proven that there is none
            raise SubmitError(attempt.said)
        if not attempt.nothing_done and await _exists(driver, job, caller, attempt):
            return
        if attempt.outcome in {"refused", "ambiguous"}:
            raise SubmitError(f"{recipe.name}: submit: {attempt.said}")
        if attempt.outcome == "begun":  # so it is there, whatever the answer says
            await asyncio.sleep(wait)
            continue
        if not await _may_try_again(wait, give_up, caller.stop):
            raise SubmitError(f"{recipe.name}: submit: {attempt.said}\nIt is not tried again.")


async def _exists(driver: Submitter, job: Job, caller: Caller, attempt: Attempt) -> bool:
    """Whether a failed submission has made a job, which then has its id.

    Asks until there is an answer, however long: a guess would lose the job, or run it twice.

    Raises:
        SubmitError: Nobody can say: the recipe has no find, the job is not wanted any more, or `policy.find_for` is
            over.
    """
    recipe, patience = driver.recipe, driver.recipe.policy.find_for
    if recipe.find is None:
        raise _undecided(recipe, job, "no job id.", attempt.said)
    began, reminder, visible = clock.now(), Reminder(), False
    for wait in _waits(recipe.policy.visible_after):
        found, troubles = await driver.find([job])
        if job in found:
            return True
        trouble = troubles.get(job, "")
        if visible and not trouble:
            return False
        if trouble:
            unknown = f"Nobody can say whether the last submission made a job: {trouble}"
            if caller.stop.is_set() and visible:
                raise _undecided(recipe, job, "the flow run was cancelled.", unknown)
            if patience is not None and clock.now() + wait - began > patience:
                raise _undecided(recipe, job, f"no answer for {patience:g} s, as policy.find_for says.", unknown)
            if reminder.is_due():
                caller.tell(f"{unknown}\nIt is asked again until there is an answer, or the flow run is cancelled.")
        await _sleep(wait, caller.stop if trouble else None)
        visible = True
    return False


def _undecided(recipe: Recipe, job: Job, why: str, said: str) -> SubmitError:
    text = f"{recipe.name}: submit: {why} The job may exist: look for {job.key}.\n{said}"
    return SubmitError(text, ambiguous=True)


def _waits(first: float) -> Iterator[float]:
    """Seconds to wait between tries: twice as long each time, up to five minutes, with jitter."""
    wait = max(first, 0.1)
    while True:
        yield wait * random.uniform(1.0, 1.3)  # noqa: S311 - jitter
        wait = min(wait * 2, _LONGEST_WAIT)


async def _may_try_again(wait: float, give_up: float, stop: asyncio.Event) -> bool:
    """Wait until it is time for another try. False when there is to be none."""
    if clock.now() + wait > give_up:
        return False
    await _sleep(wait, stop)
    return not stop.is_set()


async def _sleep(seconds: float, stop: asyncio.Event | None) -> None:
    """Sleep, but not longer than until `stop` is set."""
    if stop is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
