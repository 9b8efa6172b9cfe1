"""`generic-worker pool`: a work pool from a recipe, and later from its next version, with what its owner chose."""

from __future__ import annotations

import asyncio
import functools
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from generic_worker.cli import pool_reports, reports
from generic_worker.cli.app import OK, CallError, Json, Reference, app, load_recipe, print_json, print_text, say
from generic_worker.errors import PoolError
from generic_worker.library.loading import found_recipes, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from typing_extensions import ParamSpec

    from generic_worker.library.loading import Loaded
    from generic_worker.worker.pools import Plan

    P = ParamSpec("P")

DIFFERENT = 1
"""The exit code when a pool is not as its recipe would have it."""

pool = App(name="pool", help="Make work pools from recipes, and keep them up to date.")
app.command(pool)

Name = Annotated[str, Parameter(help="The work pool's name.")]
Sets = Annotated[
    list[str] | None,
    Parameter(name="--set", negative="", help="variable=default: a default in the pool's form; env.NAME, labels.NAME."),
]
Fixes = Annotated[
    list[str] | None,
    Parameter(name="--fix", negative="", help="variable=value: a value that no deployment can change."),
]
Storage = Annotated[
    str | None,
    Parameter(help="Directory that callers and jobs share, for flows without a deployment (@generic)."),
]
DryRun = Annotated[bool, Parameter(negative="", help="Only show what would change.")]
Yes = Annotated[bool, Parameter(negative="", help="Do not ask, whatever suffers.")]


def _told(command: Callable[P, int]) -> Callable[P, int]:
    """A command whose trouble with the pool is the caller's to know."""

    @functools.wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return command(*args, **kwargs)
        except PoolError as error:
            raise CallError(str(error)) from None

    return told


@pool.command(name="apply")
@_told
def apply_recipe(  # noqa: PLR0913 - an option each
    name: Name,
    recipe: Reference,
    /,
    *,
    sets: Sets = None,
    fixes: Fixes = None,
    storage: Storage = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> int:
    """Make a work pool, or bring it up to date: what its owner has set or fixed stays, the rest is the recipe's."""
    loaded, pools = load_recipe(recipe), _pools()
    wishes = pools.Wishes(_values(loaded, sets, "--set"), _values(loaded, fixes, "--fix"), storage)
    plan: Plan = asyncio.run(pools.plan(name, loaded, wishes))
    if not as_json:
        print_text(pool_reports.plan_text(plan))
    agreed = plan.differs and not dry_run and (yes or not plan.breaks or (not as_json and _agrees()))
    if agreed:
        asyncio.run(pools.carry_out(plan))
    if as_json:
        print_json(pool_reports.plan_data(plan, applied=agreed))
    elif plan.differs and not agreed:
        say("Nothing was changed.")
    return OK if agreed or dry_run or not plan.differs else DIFFERENT


@pool.command
@_told
def diff(name: Name, recipe: Reference | None = None, /, *, as_json: Json = False) -> int:
    """Show how a work pool differs from its recipe as that is now, without what its owner chose. Exit code 1 if so."""
    pools = _pools()
    loaded = load_recipe(recipe) if recipe is not None else _recipe_of(name, asyncio.run(pools.recipe_of(name)))
    plan: Plan = asyncio.run(pools.plan(name, loaded, pools.Wishes()))
    if not plan.exists:
        raise PoolError(f"There is no work pool {name!r}.")
    print_json(pool_reports.plan_data(plan, applied=False)) if as_json else print_text(
        pool_reports.plan_text(plan, "differs from")
    )
    return DIFFERENT if plan.differs else OK


@pool.command
@_told
def show(name: Name, /, *, as_json: Json = False) -> int:
    """Show a work pool: its recipe, variables, fixed values, storage, workers, and whether these can run the recipe."""
    data: dict[str, Any] = asyncio.run(_pools().describe(name))
    print_json(data) if as_json else print_text(pool_reports.pool_text(data))
    return OK


def _pools() -> ModuleType:
    """What deals with Prefect, and takes a second to load."""
    return import_module("generic_worker.worker.pools")


def _values(loaded: Loaded, assignments: list[str] | None, option: str) -> dict[str, Any]:
    given, common = reports.given_values(loaded.recipe, assignments or [], option)
    return {**given, **common}


def _recipe_of(pool: str, written: dict[str, Any] | str) -> Loaded:
    """The recipe of the name that a pool's recipe has, as it is found here."""
    name = written if isinstance(written, str) else str(written.get("name"))
    if name not in found_recipes():
        raise CallError(f"No recipe has the name {name!r} here. Write: generic-worker pool diff {pool} FILE")
    return load(name)


def _agrees() -> bool:
    if not sys.stdin.isatty():
        say("Somebody has to agree to what is marked with !, and nobody is there to be asked. Give --yes to do so.")
        return False
    return input("Apply it all the same? [y/N] ").strip().lower() in {"y", "yes"}
