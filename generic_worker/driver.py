"""A recipe made executable: submit, find, status, explain, cancel, logs and cleanup, with three-valued answers.

It knows nothing of Prefect, and decides nothing: when to ask and what follows from an answer is the caller's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generic_worker.answers import (
    Printed,
    StatusAnswer,
    explain_answer,
    find_answer,
    gone,
    status_answer,
    submit_answer,
)
from generic_worker.errors import CommandError, GenericWorkerError, SubmitError
from generic_worker.expressions import compile_text
from generic_worker.jobs import ABSENT, UNKNOWN, Job, JobState, JobStatus
from generic_worker.rendering import mask, render, render_files, used_names, uses_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from generic_worker.commands import CommandResult, CommandRunner
    from generic_worker.recipe import Operation, Recipe, Status

_LONGEST_WAIT = 300.0


def _waits(first: float = 2.0) -> Iterator[float]:
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


@dataclass(slots=True)
class StatusReport:
    """What the status commands say about some jobs.

    Attributes:
        statuses: One for every job that was asked about.
        trouble: Why there is no full answer, for people; empty when every command answered in full.
        remarks: Oddities worth one warning each.
        seconds: How long the slowest command took.
    """

    statuses: dict[Job, JobStatus] = field(default_factory=dict)
    trouble: str = ""
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Driver:
    """Runs the operations of one recipe.

    Args:
        recipe: What to run.
        runner: Runs the commands, and bounds how many run at once.
    """

    def __init__(self, recipe: Recipe, runner: CommandRunner) -> None:
        self.recipe = recipe
        self._runner = runner
        self._uses_directory = uses_directory(recipe)
        self._status_names = tuple(used_names(recipe, command) for command in recipe.statuses)

    @property
    def cleans_up(self) -> bool:
        """Whether there is anything to clean up after a job."""
        return self._uses_directory or self.recipe.cleanup is not None

    def scope(self, values: Mapping[str, Any]) -> str:
        """The place where the ids of jobs with these values are valid; empty when they are valid everywhere."""
        value = compile_text(self.recipe.scope).value(values) if self.recipe.scope else None
        return "" if value is None else str(value)

    async def submit(self, job: Job, stop: asyncio.Event | None = None) -> None:
        """Submit a job: afterwards it has an id.

        A submission that may or may not have happened is looked up by the job's key before it is tried again.

        Args:
            job: The job.
            stop: When it is set, a submission that has failed is not tried again.

        Raises:
            SubmitError: The infrastructure refused the job, or nobody can say whether it exists.
            VariableError: A value does not suit the recipe.
            CommandError: A command could not be started.
        """
        self._prepare_directory(job)
        name, give_up = self.recipe.name, time.monotonic() + self.recipe.policy.retry_for
        for wait in _waits():
            result = await self._run(self.recipe.submit, job.values)
            answer = submit_answer(self.recipe.submit, self._printed(result))
            if answer.outcome == "submitted":
                self.adopt(job, answer.fields)
                return
            said = mask(result.describe(), job.values)
            if answer.outcome == "refused":
                self.discard(job)
                raise SubmitError(f"{name}: submit: {said}")
            if self.recipe.find is not None:
                if await self._exists(job):
                    return
            elif answer.outcome == "ambiguous":
                raise SubmitError(f"{name}: submit: no job id. The job may exist: look for {job.key}.\n{said}", ambiguous=True)
            if time.monotonic() + wait > give_up or (stop is not None and stop.is_set()):
                self.discard(job)
                raise SubmitError(f"{name}: submit: {said}\nTried for {self.recipe.policy.retry_for:g} s, in vain.")
            await _sleep(wait, stop)

    async def _exists(self, job: Job) -> bool:
        """Whether an unanswered submission has made a job, which is then adopted.

        Asks until there is an answer, however long: a guess would lose the job, or run it twice.
        """
        sure = False
        for wait in _waits(self.recipe.policy.visible_after):
            found, trouble = await self.find([job])
            if job in found:
                return True
            if sure and not trouble:
                return False
            await asyncio.sleep(wait)
            sure = True
        return False

    def adopt(self, job: Job, record: Mapping[str, str]) -> None:
        """Take over what the infrastructure calls a job."""
        job.id = record["id"]
        captured = self.recipe.submit.output.field_names - {"id", "key", "name"}
        job.fields = {name: record[name] for name in sorted(captured) if record.get(name)}

    async def find(self, jobs: Sequence[Job]) -> tuple[set[Job], str]:
        """Look jobs up by their keys; those found are given their ids.

        Returns:
            The jobs that exist; and why the answer is not complete, empty if it is: then the others do not exist.
        """
        command = self.recipe.find
        if command is None or not jobs:
            return set(), "" if command else "the recipe has no find"
        names = used_names(self.recipe, command)
        found: set[Job] = set()
        trouble = ""
        for group in self._groups(jobs, names):
            keys = {job.key: job for job in group}
            try:
                result = await self._run(command, group[0].values)
            except GenericWorkerError as error:
                trouble = str(error)
                continue
            records, problem = find_answer(command, keys, self._printed(result))
            trouble = trouble or (mask(result.describe(), group[0].values) if problem else "")
            for key, record in records.items():
                self.adopt(keys[key], record)
                found.add(keys[key])
        return found, trouble

    async def status(self, jobs: Iterable[Job]) -> StatusReport:
        """Ask for the states of jobs, with as few commands as the recipe allows.

        A job about which the first status command has nothing to say is asked about in the next, and so on. It is absent
        when every command that the site has proves it to be.
        """
        report = StatusReport(dict.fromkeys(jobs, UNKNOWN))
        absent: set[Job] = set()
        open_questions: set[Job] = set()
        for command, names in zip(self.recipe.statuses, self._status_names, strict=True):
            groups = self._groups([job for job, status in report.statuses.items() if status is UNKNOWN], names)
            answers = await asyncio.gather(*(self._ask(group, command, report) for group in groups))
            for group, answer in zip(groups, answers, strict=True):
                report.remarks += answer.remarks
                report.trouble = report.trouble or ("" if command.optional else answer.trouble)
                for job in group:
                    status = answer.statuses.get(job.id, UNKNOWN)
                    if status.state is JobState.ABSENT:
                        absent.add(job)
                    elif status is not UNKNOWN:
                        report.statuses[job] = status
                    elif not command.optional:
                        open_questions.add(job)
        for job in absent - open_questions:
            if report.statuses[job] is UNKNOWN:
                report.statuses[job] = ABSENT
        return report

    async def _ask(self, jobs: Sequence[Job], command: Status, report: StatusReport) -> StatusAnswer:
        values = {**jobs[0].values, **self._submitted(jobs[0]), "job_ids": [job.id for job in jobs]}
        try:
            result = await self._run(command, values)
        except GenericWorkerError as error:
            return StatusAnswer(healthy=False, trouble=f"{self.recipe.name}: status: {error}")
        report.seconds = max(report.seconds, result.seconds)
        answer = status_answer(self.recipe, command, {job.id: job.key for job in jobs}, self._printed(result))
        if answer.trouble:
            answer.trouble = mask(f"{self.recipe.name}: status: {answer.trouble}: {result.describe()}", values)
        return answer

    async def explain(self, job: Job, status: JobStatus) -> JobStatus:
        """Complete the status of a job that ended other than well. Whatever goes wrong, the status stays as it was."""
        command = self.recipe.explain
        if command is None or status.state is JobState.SUCCEEDED:
            return status
        try:
            result = await self._run(command, self._values(job))
        except GenericWorkerError:
            return status
        return explain_answer(command, status, self._printed(result))

    async def cancel(self, job: Job, step: int) -> tuple[bool, str]:
        """Run one step of cancelling a job.

        Returns:
            Whether the command's own words prove that there is no such job; and what it said if it failed.
        """
        command = self.recipe.cancels[step]
        try:
            result = await self._run(command, self._values(job))
        except GenericWorkerError as error:
            return False, str(error)
        printed = self._printed(result)
        failed = printed.cut or printed.exit_code != 0
        return gone(command.absent, printed), mask(result.describe(), job.values) if failed else ""

    async def logs(self, job: Job) -> str:
        """The last lines of a job's output; empty where the recipe or the infrastructure has none."""
        command = self.recipe.logs
        if command is None:
            return ""
        try:
            result = await self._run(command, self._values(job))
        except GenericWorkerError:
            return ""
        return mask(result.stdout.rstrip(), job.values) if result.exit_code == 0 else ""

    async def cleanup(self, job: Job) -> str:
        """Clean up after a job that has ended; returns what went wrong, empty if nothing did."""
        trouble = ""
        if self.recipe.cleanup is not None:
            try:
                result = await self._run(self.recipe.cleanup, self._values(job))
            except GenericWorkerError as error:
                trouble = str(error)
            else:
                trouble = mask(result.describe(), job.values) if result.exit_code != 0 else ""
        self.discard(job)
        return trouble

    def discard(self, job: Job) -> None:
        """Remove the job's private directory."""
        if self._uses_directory:
            shutil.rmtree(job.values["job_dir"], ignore_errors=True)

    def _prepare_directory(self, job: Job) -> None:
        """Make the job's private directory and its files; nobody else may read them."""
        if not self._uses_directory:
            return
        directory = Path(job.values["job_dir"])
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, content in render_files(self.recipe, job.values).items():
                path = directory / name
                path.touch(mode=0o600)
                path.write_text(content, encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise CommandError(f"the job's directory {directory} cannot be written: {error.strerror}.") from error

    def _submitted(self, job: Job) -> dict[str, Any]:
        return {"job_id": job.id, **{f"job_{name}": value for name, value in job.fields.items()}}

    def _values(self, job: Job) -> dict[str, Any]:
        return {**job.values, **self._submitted(job)}

    def _groups(self, jobs: Sequence[Job], names: frozenset[str]) -> list[list[Job]]:
        """The jobs for which one command is the same, at most `policy.batch` of them when it names them all."""
        shared: dict[str, list[Job]] = {}
        own = sorted(names - {"job_ids"})
        for job in jobs:
            values = self._values(job) if own else {}
            shared.setdefault(repr([values.get(name) for name in own]), []).append(job)
        size = self.recipe.policy.batch if "job_ids" in names else len(jobs)
        return [group[start : start + size] for group in shared.values() for start in range(0, len(group), size)]

    async def _run(self, operation: Operation, values: Mapping[str, Any]) -> CommandResult:
        return await self._runner.run(render(self.recipe, operation, values))

    def _printed(self, result: CommandResult) -> Printed:
        unreachable = self.recipe.via is not None and result.exit_code in self.recipe.via.unreachable
        cut = result.timed_out or result.truncated
        return Printed(result.stdout, result.stderr, result.exit_code, cut, unreachable)
