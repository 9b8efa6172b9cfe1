"""What `generic-worker pool` prints: a plan before it is carried out, and a pool as it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from generic_worker.library.pool_changes import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from generic_worker.library.pool_changes import Change
    from generic_worker.worker.pools import Plan

_SIGNS = {"variable-added": "+", "variable-gone": "-", "default-kept": "=", "fixed-kept": "="}
_MANY = 8
"""Places in a recipe that are named one by one."""


def plan_data(plan: Plan, *, applied: bool) -> dict[str, Any]:
    """A plan for programs."""
    return {
        "pool": plan.pool,
        "recipe": plan.recipe,
        "exists": plan.exists,
        "differs": plan.differs,
        "breaks": plan.breaks,
        "changes": [asdict(change) for change in plan.changes],
        "deployments": plan.deployments,
        "jobs": plan.jobs,
        "lost_jobs": plan.lost_jobs,
        "storage": plan.storage,
        "applied": applied,
    }


def plan_text(plan: Plan, verb: str = "gets") -> str:
    """A plan for people.

    Args:
        plan: The plan.
        verb: What the pool does with the recipe.
    """
    return "\n".join(_plan_lines(plan, verb))


def _plan_lines(plan: Plan, verb: str) -> Iterator[str]:
    if not plan.exists:
        yield f"The work pool {plan.pool} is made from the recipe {plan.recipe}."
    elif plan.differs:
        yield f"The work pool {plan.pool} {verb} the recipe {plan.recipe} as it is now:"
    else:
        yield f"The work pool {plan.pool} has the recipe {plan.recipe} as it is now. There is nothing to change."
    yield from (_line(change) for change in plan.changes if change.kind != "recipe")
    yield from _recipe_lines(plan)
    if plan.storage is not None:
        yield f"  ~ storage: flows without a deployment go through {plan.storage}"
    for name, texts in plan.deployments.items():
        yield f"  ! deployment {name}: {'; '.join(texts)}"
    if plan.jobs:
        one = plan.jobs == 1
        yield f"  ! {plan.jobs} active job{'' if one else 's'} would be asked about with the new recipe"
    if plan.lost_jobs:
        yield f"  ! {plan.lost_jobs} of them could not be: a job is left alone by a recipe of another name"


def _line(change: Change) -> str:
    sign = "!" if change.breaks else _SIGNS.get(change.kind, "~")
    return f"  {sign} {change.name}: {change.text}" if change.name else f"  {sign} {change.text}"


def _recipe_lines(plan: Plan) -> Iterator[str]:
    """The recipe's own differences, in one line: a pool's owner reads them in the recipe."""
    places = [change for change in plan.changes if change.kind == "recipe"]
    named = [f"name ({change.text})" if change.name == "name" else change.name for change in places]
    if len(named) > _MANY:
        named = list(dict.fromkeys(name.partition(".")[0] for name in named))
    if named:
        yield f"  ~ recipe: {', '.join(named)}"


def pool_text(data: Mapping[str, Any]) -> str:
    """A pool for people."""
    return "\n".join(_pool_lines(data))


def _pool_lines(data: Mapping[str, Any]) -> Iterator[str]:
    how = ", each worker's own copy" if data["by_name"] else ""
    yield f"{data['pool']}: recipe {data['recipe']}{how}{', paused' if data['paused'] else ''}"
    if data["concurrency_limit"] is not None:
        yield f"  at most {data['concurrency_limit']} flow runs at once"
    yield "variables:"
    for one in data["variables"]:
        if "fixed" in one:
            yield f"  {one['name']}: fixed to {shown(one['fixed'])}"
        else:
            default = "required" if one["required"] and one["default"] in (None, "") else shown(one["default"])
            yield f"  {one['name']} ({one['type']}): {default}"
    yield f"storage for flows without a deployment: {data['storage'] or 'none'}"
    yield "workers:" if data["workers"] else "workers: none"
    for worker in data["workers"]:
        yield f"  {worker['name']}: {worker['status'].lower()}, {_ability(worker['problems'])}"


def _ability(problems: list[str] | None) -> str:
    if problems is None:
        return "has not said whether it can run the recipe"
    return "can run the recipe" if not problems else f"cannot run the recipe: {' '.join(problems)}"
