"""A recipe made executable: its operations as verbs, with three-valued answers.

It knows nothing of Prefect, and decides nothing: when to ask and what follows is its caller's business.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from generic_worker.answers.conclusions import StatusAnswer, explain_records, explained, gone, status_answer
from generic_worker.answers.submissions import find_answer, namesakes, submit_answer
from generic_worker.commands.masking import hiding, masked_status, shortened
from generic_worker.commands.processes import last_lines
from generic_worker.commands.rendering import used_names, uses_directory, without_environment
from generic_worker.errors import CommandOverdue, GenericWorkerError, SubmitError
from generic_worker.job import UNKNOWN, Job, JobState, JobStatus
from generic_worker.jobs import clock
from generic_worker.jobs.directory import prepare_directory, remove_directory
from generic_worker.jobs.grouping import grouped, rendering
from generic_worker.jobs.operations import Operations
from generic_worker.jobs.sharing import Shared
from generic_worker.jobs.status_report import StatusReport
from generic_worker.jobs.submission import Attempt, Caller, submit_job
from generic_worker.language.expressions import compile_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from generic_worker.answers.records import Printed, Record
    from generic_worker.commands.runner import CommandResult, CommandRunner
    from generic_worker.language.operations import Explain, Find, Operation, Status
    from generic_worker.language.recipe import Recipe

T = TypeVar("T")


_MANY = 1000
"""Jobs about which what is said is put together in a thread: with more the event loop would stand still."""


async def _aside(jobs: int, function: Callable[[], T]) -> T:
    """What a function returns that deals with some jobs; it is called in a thread where they are many."""
    return await asyncio.to_thread(function) if jobs > _MANY else function()


class Driver(Operations):
    """Runs the operations of one recipe, in one event loop.

    Args:
        recipe: What to run.
        runner: Runs the commands, and bounds how many run at once.
    """

    def __init__(self, recipe: Recipe, runner: CommandRunner) -> None:
        super().__init__(recipe, runner)
        self._uses_directory = uses_directory(recipe)
        self._captured = recipe.submit.output.field_names - {"id", "key", "name"}
        self._status_names = tuple(used_names(recipe, command) for command in recipe.statuses)
        self.watch_names = used_names(recipe, recipe.watch) if recipe.watch else frozenset()
        # One command is always free to submit or cancel, however many ask for states.
        self._turns = asyncio.Semaphore(max(1, recipe.policy.commands - 1))
        self._submissions = asyncio.Semaphore(recipe.policy.commands)
        # Logs and clean-up wait while others do not: the end of a run is reported before either.
        self._afterwards = asyncio.Semaphore(max(1, recipe.policy.commands // 2))
        self._explained = Shared(self._names(recipe.explain), recipe.policy.batch, self._explanations)
        self._cleaned_up = Shared(self._names(recipe.cleanup), recipe.policy.batch, self._clean_up)

    @property
    def cleans_up(self) -> bool:
        """Whether there is anything to clean up after a job."""
        return self._uses_directory or self.recipe.cleanup is not None

    def scope(self, values: Mapping[str, Any]) -> str:
        """The place where the ids of jobs with these values are valid; empty when that is everywhere."""
        value = compile_text(self.recipe.scope).value(values) if self.recipe.scope else None
        return "" if value is None else str(value)

    async def submit(self, job: Job, caller: Caller | None = None) -> None:
        """Submit a job: afterwards it has an id. Where there is none for certain, nothing of it is left.

        Raises:
            GenericWorkerError: There is no job, or nobody can say whether there is (`SubmitError.ambiguous`).
        """
        try:
            if self._uses_directory:
                prepare_directory(self.recipe, job.values)
            await submit_job(self, job, caller)
        except GenericWorkerError as error:
            if not (isinstance(error, SubmitError) and error.ambiguous):
                await self.cleanup(job)
            raise

    async def try_submit(self, job: Job, caller: Caller | None = None) -> Attempt:
        """Run the submit command once, if that is permitted when its turn has come. A submitted job has its id."""
        caller, result = caller or Caller(), None
        async with self._submissions:
            while result is None:
                permission, why = await caller.permit()
                if permission != "go":
                    return Attempt(permission, why)
                with suppress(CommandOverdue):  # other commands were in front of it; nothing has run
                    result = await self._run(self.recipe.submit, job.values, caller.holds)
        answer = await self._read(result, partial(submit_answer, self.recipe.submit, key=job.key))
        if answer.outcome == "submitted":
            self.adopt(job, answer.fields)
            return Attempt(answer.outcome, "")
        said = [answer.trouble, await self._described(result, job)]
        return Attempt(answer.outcome, "\n".join(filter(None, said)), answer.nothing_done)

    def adopt(self, job: Job, record: Mapping[str, str]) -> None:
        """Take over what the infrastructure calls a job."""
        job.id, job.born, job.claimed = record["id"], clock.now(), False
        job.fields = {name: record[name] for name in sorted(self._captured) if record.get(name)}

    async def is_proven(self, job: Job) -> bool:
        """Whether a job's id is its own: its submission yielded it, or it was shown under the job's own key.

        One that only a pid claims is looked up by its key, and given the id that is found.
        """
        if job.claimed and self.recipe.find is not None:
            await self.find([job])
        return not job.claimed

    async def find(self, jobs: Sequence[Job]) -> tuple[set[Job], dict[Job, str]]:
        """Look jobs up by their keys; those found are given their ids.

        Returns:
            The jobs that exist; and those of which nobody can say so, with the reasons. No others exist.
        """
        command = self.recipe.find
        if command is None:
            return set(), dict.fromkeys(jobs, "the recipe has no find")
        groups = grouped(jobs, used_names(self.recipe, command), self.recipe.policy.batch)
        answers = await asyncio.gather(*(self._find(group, command) for group in groups))
        found = {job for some, _ in answers for job in some}
        return found, {job: trouble for _, troubles in answers for job, trouble in troubles.items()}

    async def _find(self, jobs: Sequence[Job], command: Find) -> tuple[set[Job], dict[Job, str]]:
        keys = {job.key: job for job in jobs}
        try:
            result = await self._run(command, without_environment(jobs[0].values, used_names(self.recipe, command)))
        except GenericWorkerError as error:
            return set(), dict.fromkeys(jobs, str(error))
        records, trouble = await self._read(result, partial(find_answer, command, keys))
        for key, record in records.items():
            self.adopt(keys[key], record)
        missing = {key: str(job.values.get("job_name", "")) for key, job in keys.items() if key not in records}
        alike = {} if trouble else await self._read(result, partial(namesakes, command, missing))
        troubles = dict.fromkeys(missing, trouble) if trouble else alike
        said = {why: await self._said("find", why, result, jobs) for why in set(troubles.values())}
        return {keys[key] for key in records}, {keys[key]: said[why] for key, why in troubles.items()}

    async def status(self, jobs: Iterable[Job]) -> StatusReport:
        """Ask for the states of jobs, with as few commands as the recipe allows.

        A job of which one command says nothing is asked about in the next. It is absent when every command of
        the site proves it to be.
        """
        report = StatusReport(dict.fromkeys(jobs, UNKNOWN))
        for command, names in zip(self.recipe.statuses, self._status_names, strict=True):
            silent = report.silent
            groups = await _aside(len(silent), partial(grouped, silent, names, self.recipe.policy.batch))
            answers = await asyncio.gather(*(self._ask(group, command, names, report) for group in groups))
            await asyncio.to_thread(report.take, command, list(zip(groups, answers, strict=True)))
        await _aside(len(report.statuses), report.conclude)
        return report

    def status_group(self, job: Job) -> int:
        """What is the same for all jobs for which the first status command is the same."""
        return hash(rendering(job, self._status_names[0]))

    async def _ask(
        self, jobs: Sequence[Job], command: Status, names: frozenset[str], report: StatusReport
    ) -> StatusAnswer:
        try:
            async with self._turns:
                result = await self._run(command, self._values_of_all(jobs, names))
        except GenericWorkerError as error:
            return StatusAnswer(trouble=f"{self.recipe.name}: status: {error}")
        report.seconds += result.seconds
        return await self._read(result, partial(self._status_answer, command, jobs, result))

    def _status_answer(
        self, command: Status, jobs: Sequence[Job], result: CommandResult, printed: Printed
    ) -> StatusAnswer:
        """What a status command says, without secrets. Thousands of jobs take time, as do a thousand remarks."""
        answer = status_answer(self.recipe, command, {job.id: job.key for job in jobs}, printed)
        answer.trouble = self._in_words("status", answer.trouble, result, jobs)
        hide = partial(shortened, hiding(*(job.values for job in jobs)))
        answer.remarks = list(map(hide, answer.remarks))
        return answer

    async def explain(self, job: Job, status: JobStatus) -> JobStatus:
        """Complete the status of a job that ended other than well. Should that fail, it stays as it was."""
        if self.recipe.explain and status.state is not JobState.SUCCEEDED and await self.is_proven(job):
            with suppress(GenericWorkerError):
                record = await self._explained.about(job)
                return masked_status(explained(status, record), job.values) if record else status
        return status

    async def _explanations(self, jobs: Sequence[Job]) -> dict[Job, Record | None] | None:
        """What `explain` says of each of some jobs; None where it failed for several."""
        command = cast("Explain", self.recipe.explain)
        result = await self._run_for(command, jobs)
        if len(jobs) > 1 and (result.exit_code != 0 or result.truncated):
            return None
        records = await self._read(result, partial(explain_records, command))
        if len(jobs) == 1:
            return {jobs[0]: records[-1] if records else None}
        found = {record.get("id"): record for record in records}
        return {job: found.get(job.id) for job in jobs}

    async def cancel(self, job: Job, step: int) -> tuple[bool, str]:
        """Run one step of cancelling a job.

        Returns:
            Whether the command's own words prove that there is no such job; and what it said if it failed.
        """
        command = self.recipe.cancels[step]
        if not await self.is_proven(job):
            return False, f"{job.pid} was not shown under its own key, and is left alone."
        try:
            result = await self._run(command, self._values(job))
        except GenericWorkerError as error:
            return False, str(error)
        failed = result.timed_out or result.truncated or result.exit_code != 0
        is_gone = await self._read(result, partial(gone, command.absent))
        return is_gone, await self._described(result, job) if failed else ""

    async def logs(self, job: Job) -> str:
        """The last lines of a job's output; empty where the recipe or the infrastructure has none."""
        command = self.recipe.logs
        if command is None or not await self.is_proven(job):
            return ""
        try:
            async with self._afterwards:
                result = await self._run(command, self._values(job))
        except GenericWorkerError:
            return ""
        if result.exit_code != 0:
            return ""
        return await asyncio.to_thread(last_lines, result.stdout, hiding(job.values))

    async def cleanup(self, job: Job) -> str:
        """Clean up after a job that has ended, or that does not exist although it was to be submitted.

        What was made before there was a job goes even without one: its private directory, and what the recipe's
        `cleanup` removes if that is no command about the job's id.

        Returns:
            What went wrong, empty if nothing did.
        """
        trouble, command = "", self.recipe.cleanup
        if command is not None and (not self._needs_job(command) or (job.id and await self.is_proven(job))):
            try:
                trouble = await self._cleaned_up.about(job)
            except GenericWorkerError as error:
                trouble = str(error)
        if self._uses_directory:
            remove_directory(job.values)
        return trouble

    async def _clean_up(self, jobs: Sequence[Job]) -> dict[Job, str] | None:
        """What went wrong when some jobs were cleaned up; None where it failed for several."""
        async with self._afterwards:
            result = await self._run_for(cast("Operation", self.recipe.cleanup), jobs)
        if result.exit_code == 0:
            return dict.fromkeys(jobs, "")
        return None if len(jobs) > 1 else {jobs[0]: await self._described(result, jobs[0])}

    def _needs_job(self, operation: Operation) -> bool:
        """Whether a command names what only a submitted job has."""
        submitted = {"job_id", "job_ids", *(f"job_{name}" for name in self._captured)}
        return not submitted.isdisjoint(used_names(self.recipe, operation))
