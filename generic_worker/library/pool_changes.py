"""What is different between two base job templates of a pool, for its owner to read before it is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generic_worker.library.pool_template import Template, fixed_values, former_recipe, made_of, suits
from generic_worker.library.schemas import takes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from generic_worker.library.loading import Loaded

_WORDS = frozenset({"title", "description", "position"})
"""What may be different in a variable without any value being worse off."""
_NOT_OF_JOBS = frozenset(
    {"recipe", "description", "documentation", "verified", "examples", "requires", "variables", "required", "submit"}
)
"""The parts of a recipe that are of no account for a job that was submitted already."""
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        kind: What it is, for programs, such as `variable-gone`.
        name: The variable, or the place in the recipe.
        text: What it is, for people.
        breaks: Whether something that the owner has chosen is lost.
        is_kept: Whether it is no difference at all, but a choice of the owner's that stays.
    """

    kind: str
    name: str
    text: str
    breaks: bool = False
    is_kept: bool = False


def changes(old: Template, new: Template, loaded: Loaded, chosen: Collection[str] = ()) -> list[Change]:
    """What is different between a pool's template and the one that is made of it.

    Args:
        old: The one that the pool has.
        new: The one that `pool_template.applied` has made of it.
        loaded: The recipe that was applied.
        chosen: The variables whose defaults were given on the way.
    """
    former = former_recipe(old, loaded)
    data = json.loads(json.dumps(loaded.data))
    schemas = {**(former.get("variables") or {}), **data.get("variables", {})}
    found = [
        *_variables(old, new, former, chosen),
        *_fixed(old, new, schemas, loaded.recipe.variables),
        *_recipe(former, data),
    ]
    if old != new and all(change.is_kept for change in found):
        found.append(Change("other", "", "what no deployment sees is brought up to date"))
    return found


def concerns_jobs(old: Template, loaded: Loaded) -> bool:
    """Whether jobs that were submitted with the recipe that a pool has are asked about otherwise with another."""
    former = former_recipe(old, loaded)
    return any(former.get(key) != loaded.data.get(key) for key in {*former, *loaded.data} - _NOT_OF_JOBS)


def invalid(old: Template, new: Template, job_variables: Mapping[str, Any]) -> list[str]:
    """Why a deployment's runs would be refused with a new template, if they are not already; and what is void then."""
    already = set(_complaints(old, job_variables))
    void = set(fixed_values(new)) - set(fixed_values(old))
    ineffective = [f"it sets {name}, which has no effect any more" for name in job_variables if name in void]
    return [text for text in _complaints(new, job_variables) if text not in already] + ineffective


def _complaints(template: Template, job_variables: Mapping[str, Any]) -> Iterator[str]:
    form, fields = template["variables"], template["variables"]["properties"]
    for name, value in job_variables.items():
        if name in fields and not suits(value, fields[name]):
            yield f"{name} does not take {shown(value, fields[name])}"
        elif name not in fields and not takes(form, name):
            yield f"there is no variable {name}"
    for name in form["required"]:
        if job_variables.get(name) is None and fields[name].get("default") is None:
            yield f"{name} is required, and has no value"


def _variables(old: Template, new: Template, former: Mapping[str, Any], chosen: Collection[str]) -> Iterator[Change]:
    before, after = old["variables"]["properties"], new["variables"]["properties"]
    moved = {*fixed_values(old), *fixed_values(new)}
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in before:
            if name not in moved:
                yield Change("variable-added", name, _described(after[name]))
        elif name not in after:
            if name not in moved:
                yield _gone(name, before[name], made_of(name, former.get("variables") or {}, before[name]))
        else:
            yield from _schema(name, before[name], after[name])
            made = made_of(name, former.get("variables") or {}, before[name])
            yield from _default(name, before[name], after[name], made, given=name in chosen)


def _gone(name: str, had: Mapping[str, Any], made: Mapping[str, Any]) -> Change:
    lost = had.get("default") != made.get("default")
    what = f"it had your default {shown(had.get('default'), had)}" if lost else _described(had)
    return Change("variable-gone", name, f"it is gone; {what}", breaks=lost)


def _schema(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    keys = [key for key in {**before, **after} if key != "default" and before.get(key) != after.get(key)]
    told = [key for key in keys if key not in _WORDS]
    if told:
        parts = (f"{key} is {shown(after.get(key))}, and was {shown(before.get(key))}" for key in told)
        yield Change("variable-retyped", name, "; ".join(parts))
    elif keys:
        yield Change("variable-described", name, f"its {' and '.join(keys)} changed")


def _default(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any], made: Mapping[str, Any], *, given: bool
) -> Iterator[Change]:
    had, has, own = before.get("default"), after.get("default"), before.get("default") != made.get("default")
    if had == has:
        if own:
            yield Change("default-kept", name, f"your default {shown(had, before)} stays", is_kept=True)
        return
    text = f"its default is {shown(has, after)}, and was {shown(had, before)}"
    if given or not own:
        yield Change("default-changed", name, text)
    else:
        yield Change(
            "default-lost", name, f"your default {shown(had, before)} does not suit any more; {text}", breaks=True
        )


def _fixed(old: Template, new: Template, schemas: Mapping[str, Any], names: Collection[str]) -> Iterator[Change]:
    before, after, form = fixed_values(old), fixed_values(new), new["variables"]["properties"]
    for name in dict.fromkeys([*before, *after]):
        value = shown(after.get(name), schemas.get(name, {}))
        if name not in before:
            yield Change("fixed", name, f"it is fixed to {value}, and not in the form any more")
        elif name in after:
            was = shown(before[name], schemas.get(name, {}))
            if before[name] == after[name]:
                yield Change("fixed-kept", name, f"it stays fixed to {value}", is_kept=True)
            else:
                yield Change("fixed", name, f"it is fixed to {value}, and was to {was}")
        elif name in names:
            default = shown(form[name].get("default"), schemas.get(name, {}))
            yield Change("released", name, f"it is in the form again, with the default {default}")
        else:
            was = shown(before[name], schemas.get(name, {}))
            yield Change("variable-gone", name, f"it is gone; it was fixed to {was}", breaks=True)


def _recipe(former: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[Change]:
    if former.get("name") != data.get("name"):
        yield Change("recipe", "name", f"it is {data.get('name')}, and was {former.get('name')}")
    places = [
        place for key in dict.fromkeys([*former, *data]) for place in _places(key, former.get(key), data.get(key))
    ]
    for place in places:
        yield Change("recipe", place, "it is different")


def _places(key: str, before: object, after: object) -> Iterator[str]:
    """Where in one part of a recipe there is a difference, so far as it helps a reader."""
    if before == after or key in {"name", "variables", "required"}:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from (f"{key}.{name}" for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name))
    else:
        yield key


def _described(schema: Mapping[str, Any]) -> str:
    description = schema.get("description") or schema.get("title") or ""
    default = f"default {shown(schema['default'], schema)}" if schema.get("default") not in (None, "") else "no default"
    return f"{schema.get('type', 'block')}, {default}: {description}".rstrip(": ")


def is_password(schema: Mapping[str, Any]) -> bool:
    """Whether a variable's values are not to be seen."""
    return schema.get("format") == "password" or schema.get("writeOnly") is True


def shown(value: object, schema: Mapping[str, Any] | None = None) -> str:
    """A value for people; a password is not shown."""
    if schema is not None and is_password(schema) and value not in (None, ""):
        return "********"
    text = "none" if value in (None, "") else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def variables(template: Template) -> list[dict[str, Any]]:
    """What deployments can set, with the defaults, and what they cannot because the owner has fixed it."""
    fixed, form = fixed_values(template), template["variables"]["properties"]
    own = [
        {
            "name": name,
            "type": schema.get("type", "block"),
            "default": "********" if is_password(schema) and schema.get("default") else schema.get("default"),
            "required": name in template["variables"].get("required", []),
            "title": schema.get("title"),
        }
        for name, schema in form.items()
        if name not in fixed
    ]
    return [*own, *({"name": name, "fixed": value} for name, value in fixed.items())]
