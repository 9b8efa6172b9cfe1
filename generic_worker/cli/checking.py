"""`generic-worker check`: what is wrong with recipes, as text for people or as data for programs."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import NamedTuple

from generic_worker.cli.app import (
    OK,
    WRONG_CALL,
    WRONG_RECIPE,
    CallError,
    Json,
    Reference,
    app,
    load_recipe,
    print_json,
    print_text,
    say,
)
from generic_worker.errors import Problem, RecipeError
from generic_worker.library import examples, recipe_warnings


class _Verdict(NamedTuple):
    """What is said of one recipe: an exit code, problems with their severity, and a line for one that is right."""

    code: int
    problems: list[tuple[Problem, str]]
    praise: str = ""


@app.command
def check(*recipes: Reference, as_json: Json = False) -> int:
    """Find what is wrong with recipes, and whether their examples hold. Nothing is run, nothing is connected to."""
    if not recipes:
        raise CallError("check: name a recipe, or give the path of one.")
    verdicts = [_check(recipe) for recipe in recipes]
    if as_json:
        print_json(
            [{**asdict(one), "severity": severity} for verdict in verdicts for one, severity in verdict.problems]
        )
    for verdict in [] if as_json else verdicts:
        for problem, severity in verdict.problems:
            tell = say if verdict.code == WRONG_CALL else print_text
            mark = "" if severity == "error" else f"{severity}: "
            tell(str(replace(problem, message=f"{mark}{problem.message}")))
        print_text(verdict.praise)
    return max(verdict.code for verdict in verdicts)


def _check(reference: str) -> _Verdict:
    try:
        loaded = load_recipe(reference)
    except CallError as error:
        problem = Problem(reference, 0, 0, "", str(error).removeprefix(f"{reference}: "))
        return _Verdict(WRONG_CALL, [(problem, "error")])
    except RecipeError as error:
        return _Verdict(WRONG_RECIPE, [(problem, "error") for problem in error.problems])
    wrong, doubtful = examples.problems(loaded), recipe_warnings.warnings(loaded.source, loaded.recipe)
    problems = sorted([*((one, "error") for one in wrong), *((one, "warning") for one in doubtful)])
    if wrong:
        return _Verdict(WRONG_RECIPE, problems)
    count = len(loaded.recipe.examples)
    held = "it has no examples" if not count else "1 example holds" if count == 1 else f"{count} examples hold"
    return _Verdict(OK, problems, f"{loaded.source.name}: OK, {held}.")
