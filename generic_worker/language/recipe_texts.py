"""Where a recipe holds text that means something: expressions, shell scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generic_worker.language.structures import texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generic_worker.language.recipe import Recipe
    from generic_worker.syntax.source import Path


def templates(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    """Every text of a recipe that may hold expressions."""
    if recipe.scope:
        yield ("scope",), recipe.scope
    yield from texts(("env",), recipe.env)
    yield from texts(("files",), recipe.files)
    if recipe.via:
        yield from texts(("via", "run"), recipe.via.run)
    for path, operation in recipe.operations():
        if not isinstance(operation.run, str):
            yield from texts((*path, "run"), operation.run)
        yield from texts((*path, "env"), operation.env)
        yield from texts((*path, "stdin"), operation.stdin)


def scripts(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    """Every shell script of a recipe."""
    yield ("script", "before"), recipe.script.before
    for path, operation in recipe.operations():
        if isinstance(operation.run, str):
            yield (*path, "run"), operation.run
