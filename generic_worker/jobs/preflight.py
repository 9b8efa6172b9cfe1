"""Whether a recipe can work on this host at all: its programs are there, and its `check` command succeeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from generic_worker.commands.masking import hiding, mask
from generic_worker.commands.programs import find_program
from generic_worker.commands.rendering import host_values, prepared
from generic_worker.commands.secret_values import marked
from generic_worker.errors import GenericWorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generic_worker.commands.runner import CommandRunner
    from generic_worker.language.recipe import Recipe


def missing_programs(recipe: Recipe) -> list[str]:
    """The programs that a recipe requires and that are not here; none when its commands run elsewhere."""
    if recipe.via is not None:
        return []
    path = recipe.env.get("PATH")
    return [name for name in recipe.requires if find_program(name, path) is None]


async def preflight(recipe: Recipe, runner: CommandRunner, variables: Mapping[str, Any] | None = None) -> list[str]:
    """What keeps a recipe from working on this host, for people; empty if nothing is known to.

    Args:
        recipe: The recipe.
        runner: Runs its `check` command.
        variables: Values of its variables; their defaults when left out.
    """
    problems = [f"{recipe.name} needs {name}, which is not on the worker's PATH." for name in missing_programs(recipe)]
    if recipe.check is None or problems:
        return problems
    given = {name: schema.get("default") for name, schema in recipe.variables.items()} | dict(variables or {})
    values = {name: marked(recipe, name, value) for name, value in given.items()}
    try:
        values = host_values(recipe, given)
        result = await runner.run(prepared(recipe, recipe.check, values))
    except GenericWorkerError as error:
        return [mask(f"{recipe.name}: check: {error}", values)]
    if result.exit_code == 0 and not result.timed_out:
        return []
    return [f"{recipe.name}: check: {result.describe(hiding(values))}"]
