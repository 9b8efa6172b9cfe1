"""Flow runs whose worker was gone while it submitted them: whether there is a job is not known yet.

A job is looked up by its key. It may still appear for as long as its last worker may have been at it, and only after
that is a run handed back, never to be submitted twice.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from prefect.logging.loggers import flow_run_logger
from prefect.states import Cancelled, Scheduled

from generic_worker.errors import AttemptLostError
from generic_worker.jobs.submission import Reminder
from generic_worker.worker import flow_runs
from generic_worker.worker.attempts import SETTLED
from generic_worker.worker.handing_back import give_back

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from prefect.client.schemas.objects import State
    from prefect.types import DateTime

    from generic_worker.worker.api_calls import ApiClock, Moment
    from generic_worker.worker.assignments import Assignment, Host
    from generic_worker.worker.attempts import Attempt, Attempts


class InterruptedSubmissions:
    """Settles what becomes of such runs, once this worker has their attempts.

    Args:
        host: The worker.
        attempts: What it does to the attempts that it has.
        api_clock: The API's clock.
    """

    def __init__(self, host: Host, attempts: Attempts, api_clock: ApiClock) -> None:
        self._host = host
        self._attempts = attempts
        self._clock = api_clock
        self._reminders: dict[UUID, Reminder] = {}

    async def settle(self, without_id: Sequence[Assignment], read: Moment) -> tuple[list[Assignment], list[Attempt]]:
        """Look up the jobs of runs whose key was saved, and no id.

        Args:
            without_id: The runs.
            read: A moment since which they were read. What is concluded depends on how long their attempts had been
                this worker's then: the API, and `find`, may take minutes to answer.

        Returns:
            Those whose jobs are there, and have their ids now; and attempts that were handed back or reported as ended.
        """
        located: list[Assignment] = []
        settled: list[Attempt] = []
        for driver in {assignment.driver for assignment in without_id}:
            group = [assignment for assignment in without_id if assignment.driver is driver]
            found, trouble = await driver.find([assignment.job for assignment in group])
            for assignment in group:
                if assignment.job in found:
                    await self._save_id(assignment)
                    located.append(assignment)
                elif await self._is_settled(assignment, trouble.get(assignment.job), read):
                    settled.append(assignment.attempt)
        return located, settled

    async def _save_id(self, assignment: Assignment) -> None:
        save = partial(flow_runs.save_pid, self._host.client, assignment.flow_run.id, assignment.job.pid)
        try:
            await self._attempts.note(assignment.attempt, save)
        except AttemptLostError:
            assignment.cancel.set()  # nobody counts on it any more

    async def _is_settled(self, assignment: Assignment, trouble: str | None, read: Moment) -> bool:
        """Settle what becomes of a run whose job was not found, if it is time for that."""
        undecided = _may_appear(assignment, read)
        if assignment.driver.recipe.find is None:
            return not undecided and await self._give_up_without_find(assignment)
        if trouble is not None:
            return await self._give_up(assignment, trouble, undecided=undecided)
        if undecided or not await self.hand_back(assignment.attempt):
            return False
        await assignment.driver.cleanup(assignment.job)
        return True

    async def _give_up_without_find(self, assignment: Assignment) -> bool:
        name, key = assignment.driver.recipe.name, assignment.job.key
        message = f"The worker stopped while it submitted this run, and {name} has no find."
        hint = f"The job may exist: look for the key {key}."
        await self._attempts.report_end(assignment.attempt, f"{message} {hint}", key)
        return True

    async def _give_up(self, assignment: Assignment, trouble: str, *, undecided: bool) -> bool:
        """Say that a find does not answer; give it up for a run that was cancelled, or when its bound is reached."""
        attempt, policy = assignment.attempt, assignment.driver.recipe.policy
        unknown = f"Nobody can say whether the last submission made a job: {trouble}"
        if attempt.state.is_cancelling() and not undecided:
            why = "The flow run was cancelled."
        elif policy.find_for is not None and attempt.taken.age > policy.find_for:
            why = f"No answer for {policy.find_for:g} s, as policy.find_for says."
        else:
            if self._reminders.setdefault(attempt.id, Reminder()).is_due():
                flow_run_logger(flow_run=assignment.flow_run).warning("%s", unknown)
            return False
        message = f"{why} The job may exist: look for {assignment.job.key}.\n{unknown}"
        await self._attempts.report_end(attempt, message, assignment.job.key)
        return True

    async def hand_back(self, attempt: Attempt) -> bool:
        """Give a run that was not submitted to whichever worker asks next. Says whether anything was done."""

        def end(state: State) -> State | None:
            if state.is_cancelling():
                return Cancelled(message="The flow run was cancelled before its job was submitted.")
            if not state.is_pending():
                return None  # somebody executes it by other means
            now = cast("DateTime", self._clock.now())
            return Scheduled(scheduled_time=now, message="Its worker stopped before it was submitted.")

        return await give_back(self._attempts, attempt, end) is not None


def is_quiet(attempt: Attempt, read: Moment) -> bool:
    """Whether no worker that had an attempt before was still about to save its job's key when the run was read."""
    return attempt.number <= 0 or _was_ours_for(attempt, read) >= SETTLED


def _was_ours_for(attempt: Attempt, read: Moment) -> float:
    """Seconds for which an attempt had been this worker's when its run was read."""
    return attempt.taken.age - read.age


def _may_appear(assignment: Assignment, read: Moment) -> bool:
    """Whether a job may have been about to appear: its last worker may have been submitting until its attempt was lost.

    The command that submits it outlives a worker that is stopped; and then not everybody can see the job at once.
    """
    recipe = assignment.driver.recipe
    return _was_ours_for(assignment.attempt, read) < SETTLED + recipe.submit.timeout + recipe.policy.visible_after
