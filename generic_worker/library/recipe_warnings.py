"""Warnings about a recipe that can be used: variables without use, words that may become options, no find."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from generic_worker.language.expressions import compile_text
from generic_worker.language.job_script import shell_names
from generic_worker.language.recipe_texts import scripts, templates
from generic_worker.library.schemas import unsuitable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from generic_worker.errors import Problem
    from generic_worker.language.recipe import Recipe
    from generic_worker.syntax.source import Path, Source

_FROM_OUTSIDE = frozenset({"job_name", "flow_run_name", "flow_name", "deployment_name", "work_pool_name"})
"""Names whose values somebody else has chosen, so that they may begin with a dash."""


def warnings(source: Source, recipe: Recipe) -> list[Problem]:
    """What is probably not meant in a recipe that can be used, each with its place."""
    found = [*_unused_variables(recipe), *_option_like(recipe), *_shell_in_words(recipe), *_missing_find(recipe)]
    found += [*_no_end(recipe), *_never_shown(recipe)]
    return sorted(source.problem(path, message) for path, message in found)


def _unused_variables(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    used = {name for _, text in templates(recipe) for name in compile_text(text).names}
    used |= {name for _, script in scripts(recipe) for name in shell_names(script, recipe.names)}
    for name in recipe.variables:
        if name not in used:
            yield ("variables", name), "No command uses this variable."


def _words(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    """Every word of every argument vector that is not in a group, up to a `--`."""
    for path, operation in recipe.operations():
        for index, word in enumerate(operation.run if isinstance(operation.run, list) else ()):
            if word == "--":
                break
            if isinstance(word, str):
                yield (*path, "run", index), word


def _option_like(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    """Words that a deployment could turn into an option of the recipe's own command."""
    for path, word in _words(recipe):
        template = compile_text(word)
        name = next(iter(template.names), "")
        if str(template) != f"${{{name}}}":
            continue
        if name in _FROM_OUTSIDE:
            hint = f"Write --name=${{{name}}}, or put '--' before it."
            yield path, f"A {name} that begins with a dash would be an option. {hint}"
        elif name in recipe.variables and not _never_an_option(recipe.variables[name]):
            hint = f"Put '--' before it, or give {name} a pattern that excludes it, such as '^[^-]'."
            yield path, f"A value of {name} that begins with a dash would be an option. {hint}"


def _shell_in_words(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    """Words that hold `$name`, which is the shell form's way."""
    for path, word in _words(recipe):
        for name in re.findall(r"(?<!\$)\$([a-z][a-z0-9_]*)", word):
            if name in recipe.names:
                yield path, f"In a list '${name}' stays as it is. Write ${{{name}}}."


def _never_an_option(schema: Mapping[str, Any]) -> bool:
    by_intent = schema.get("type") == "array" and "option" in schema.get("description", "").lower()
    return schema.get("type") in {"integer", "number", "boolean"} or "enum" in schema or by_intent or _no_dash(schema)


def _no_dash(schema: Mapping[str, Any]) -> bool:
    pattern = schema.get("pattern") or schema.get("items", {}).get("pattern")
    return bool(pattern) and all(unsuitable(word, {"pattern": pattern}) for word in ("-x", "--x=y"))


def _no_end(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    if not {"succeeded", "finished"} & set(recipe.states):
        yield (
            ("states",),
            "No word says that a job has succeeded. A job that is gone has ended, and how, only its flow run says.",
        )


def _missing_find(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    if recipe.find is None:
        yield (
            ("submit",),
            "Without find, a job whose submission did not end well may be lost. Add find if the key can be looked up.",
        )


def _never_shown(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    """Whether a job that only a pid names is never proven to be the run's own, so that nothing is done about it."""
    keys = {"key", "id"} if recipe.submit.output.id_ else {"key"}
    if recipe.find is None and all(keys.isdisjoint(status.output.field_names) for status in recipe.statuses):
        yield (
            ("status",),
            (
                "Nothing shows a job under its own key: a worker that was restarted neither cancels it nor cleans up "
                "after it. Add find, or the field key to this output."
            ),
        )
