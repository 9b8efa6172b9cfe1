"""A recipe that is little more than its submit command, and the values of one of its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from generic_worker.commands.rendering import job_values
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from generic_worker.language.recipe import Recipe


def recipe(submit: str, more: str = "") -> Recipe:
    """The recipe with these lines of YAML in `submit`, and with more before it."""
    return load(
        "recipe: 1\nname: sample\n"
        f"{more}submit:\n{submit}  output: {{columns: [id]}}\n"
        "status: {run: [x], output: {columns: [id, state]}}\ncancel: {run: [x]}\nstates: {finished: [x]}\n"
    ).recipe


def values(recipe: Recipe, variables: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    """What its expressions may name, for a job whose deployment has set these variables."""
    known = {"job_key": "pf-1", "job_name": "name", "command": "true", "env": {}, "labels": {}}
    return job_values(recipe, variables or {}, known | given)
