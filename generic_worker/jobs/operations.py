"""The operations of a recipe, run for jobs: the command of each, and what it printed, for readers and for people."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from generic_worker.answers.records import Printed
from generic_worker.commands.masking import hiding, masked_errors, shortened
from generic_worker.commands.programs import Holds, always
from generic_worker.commands.rendering import prepared, used_names, without_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from generic_worker.commands.runner import CommandResult, CommandRunner
    from generic_worker.job import Job
    from generic_worker.language.operations import Operation
    from generic_worker.language.recipe import Recipe

T = TypeVar("T")


class Operations:
    """Runs the operations of one recipe; what follows from them is for others to say.

    Args:
        recipe: What to run.
        runner: Runs the commands, and bounds how many run at once.
    """

    def __init__(self, recipe: Recipe, runner: CommandRunner) -> None:
        self.recipe = recipe
        self.runner = runner

    def _values(self, job: Job) -> dict[str, Any]:
        return {**job.values, **job.submitted}

    def _values_of_all(self, jobs: Sequence[Job], names: frozenset[str]) -> dict[str, Any]:
        """The values of a command that uses some names and is about jobs for which it is the same."""
        return without_environment(self._values(jobs[0]), names) | {"job_ids": [job.id for job in jobs]}

    def _names(self, operation: Operation | None) -> frozenset[str]:
        return used_names(self.recipe, operation) if operation else frozenset()

    async def _run_for(self, operation: Operation, jobs: Sequence[Job]) -> CommandResult:
        """Run a command about some jobs; about more than one only if it names `job_ids`."""
        names = self._names(operation)
        values = self._values_of_all(jobs, names) if "job_ids" in names else self._values(jobs[0])
        return await self._run(operation, values)

    async def _run(self, operation: Operation, values: Mapping[str, Any], holds: Holds = always) -> CommandResult:
        with masked_errors(values):
            return await self.runner.run(replace(prepared(self.recipe, operation, values), holds=holds))

    # What was printed is looked at in threads only: to read it takes time, and so does to look for secrets in it.

    async def _read(self, result: CommandResult, answer: Callable[[Printed], T]) -> T:
        return await asyncio.to_thread(answer, self._printed(result))

    async def _described(self, result: CommandResult, *jobs: Job) -> str:
        return await asyncio.to_thread(result.describe, hiding(*(job.values for job in jobs)))

    async def _said(self, verb: str, trouble: str, result: CommandResult, jobs: Sequence[Job]) -> str:
        return await asyncio.to_thread(self._in_words, verb, trouble, result, jobs)

    def _in_words(self, verb: str, trouble: str, result: CommandResult, jobs: Sequence[Job]) -> str:
        """What went wrong with a command, for people; empty if nothing did."""
        if not trouble:
            return ""
        hide = hiding(*(job.values for job in jobs))
        return f"{self.recipe.name}: {verb}: {shortened(hide, trouble)}: {result.describe(hide)}"

    def _printed(self, result: CommandResult) -> Printed:
        unreachable = self.recipe.via is not None and result.exit_code in self.recipe.via.unreachable
        cut = result.timed_out or result.truncated
        return Printed(result.stdout, result.stderr, result.exit_code, cut, unreachable)
