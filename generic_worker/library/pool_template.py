"""What becomes of a pool's base job template when its recipe is applied: the owner's choices stay, the rest is new.

An owner chooses defaults (as Prefect's form does), narrows or adds variables (as its JSON tab does), and fixes others
by a value in their place in `job_configuration`. All of this is told from what the recipe that the pool still holds
had made of them.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from generic_worker.errors import PoolError, VariableError
from generic_worker.library.schemas import unsuitable
from generic_worker.library.template import (
    COMMON,
    base_job_template,
    form_property,
    no_such_variable,
    placeholder,
    refuse_unsuitable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from generic_worker.language.recipe import Recipe
    from generic_worker.library.loading import Loaded

Template = dict[str, Any]

_PLACEHOLDER_RE = re.compile(r"{{\s*([\w.\-\[\]$]+)\s*}}")
_MAPPINGS = ("env", "labels")


def applied(
    old: Template | None, loaded: Loaded, sets: Mapping[str, Any] | None = None, fixes: Mapping[str, Any] | None = None
) -> Template:
    """The template of a pool after its recipe was applied.

    Args:
        old: The template that the pool has; None if there is no pool yet.
        loaded: The recipe. A pool that has it by name goes on having it so.
        sets: Defaults that the owner wants in the form, by variable, `env.NAME` or `labels.NAME`. A variable that was
            fixed is in the form again.
        fixes: Values that deployments can set no more, by variable, `name` or `command`.

    Raises:
        VariableError: A value does not suit its variable, or there is no such variable.
        PoolError: The owner's own entries in the template do not fit the recipe any more.
    """
    by_name = old is not None and isinstance(old["job_configuration"].get("recipe"), str)
    fresh = base_job_template(loaded, name_only=by_name)
    new = deepcopy(fresh)
    if old is not None:
        _keep_choices(old, new, loaded)
    for name, value in (sets or {}).items():
        _set_default(new, fresh, loaded.recipe, name, value)
    for name, value in (fixes or {}).items():
        _fix(new, loaded.recipe, name, value)
    _let_fixed_pass(new, loaded.recipe)
    _refuse_unknown_placeholders(new)
    plain: Template = json.loads(json.dumps(new))
    return plain


def former_recipe(old: Template, loaded: Loaded) -> dict[str, Any]:
    """The recipe that a pool has, as plain data: it may be of an older language, and not be loaded any more.

    Raises:
        PoolError: The pool has none of its own.
    """
    recipe = old["job_configuration"].get("recipe")
    if isinstance(recipe, str) and "{{" in recipe:
        raise PoolError("The pool lets deployments choose its recipe. Change its template by hand.")
    return recipe if isinstance(recipe, dict) else loaded.data


def fixed_values(template: Template) -> dict[str, Any]:
    """What the owner has put in the place of variables: values that no deployment can change, or mixes of others."""
    job = template["job_configuration"]
    values = {**{name: job[name] for name in COMMON if name in job}, **(job.get("variables") or {})}
    return {name: value for name, value in values.items() if not _stands_for(name, value)}


def _stands_for(name: str, value: object) -> bool:
    found = _PLACEHOLDER_RE.fullmatch(value) if isinstance(value, str) else None
    return found is not None and found[1] == name


def _keep_choices(old: Template, new: Template, loaded: Loaded) -> None:
    """Put the choices of a pool's owner into a new template."""
    former, fixed, job = former_recipe(old, loaded), fixed_values(old), new["job_configuration"]
    job["variables"].update({name: value for name, value in fixed.items() if name in job["variables"]})
    job.update({name: value for name, value in fixed.items() if name in COMMON})
    job.update({name: value for name, value in old["job_configuration"].items() if name not in job})
    known, form, had = former.get("variables") or {}, new["variables"], old["variables"].get("properties", {})
    for name, fresh in list(form["properties"].items()):
        if name in had:
            form["properties"][name] = _edited(had[name], made_of(name, known, had[name]), fresh)
        elif name in known or name in COMMON:
            del form["properties"][name]
    own = {name: schema for name, schema in had.items() if name not in known and name not in COMMON}
    form["properties"].update(own)
    demanded = set(old["variables"].get("required", [])) - set(former.get("required") or [])
    form["required"] += [name for name in form["properties"] if name in demanded and name not in form["required"]]
    form["additionalProperties"] = old["variables"].get("additionalProperties", False)
    blocks = {**old["variables"].get("definitions", {}), **form.get("definitions", {})}
    used = json.dumps(form["properties"])
    if kept := {name: block for name, block in blocks.items() if f'"#/definitions/{name}"' in used}:
        form["definitions"] = kept


def made_of(name: str, variables: Mapping[str, Any], had: dict[str, Any]) -> dict[str, Any]:
    """What an earlier recipe had made of a variable. Compared with it, what there is shows what the owner has changed.

    Args:
        name: The variable.
        variables: Those of the earlier recipe.
        had: What there is.
    """
    if name in variables:
        return form_property(name, variables[name])
    if name in COMMON:  # of another version of this package, perhaps; its default has always been the same
        default = {"default": COMMON[name]["default"]} if "default" in COMMON[name] else {}
        return {**{key: value for key, value in had.items() if key != "default"}, **default}
    return {}


def _edited(had: dict[str, Any], made: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """A variable of the new form, with what the owner has changed in the old one; but no default that does not suit."""
    edits = {key: value for key, value in had.items() if key not in made or made[key] != value}
    removed = set(made) - set(had)
    merged = {key: value for key, value in {**fresh, **edits}.items() if key not in removed}
    if "default" in edits and not suits(merged["default"], merged):
        del merged["default"]
        return {**merged, **{key: value for key, value in fresh.items() if key == "default"}}
    return merged


def suits(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether a value is what a variable of a form allows. Of blocks only Prefect knows."""
    if "allOf" in schema or value in (None, "") or "{{" in str(value):
        return True
    return not unsuitable(value, schema)


def _set_default(new: Template, fresh: Template, recipe: Recipe, name: str, value: Any) -> None:  # noqa: ANN401
    form, (mapping, _, entry) = new["variables"], name.partition(".")
    if mapping in _MAPPINGS and entry and mapping in form["properties"]:
        field = form["properties"][mapping]
        field["default"] = {**(field.get("default") or {}), entry: value}
        return
    if name in recipe.variables:
        if value not in (None, "") and "block" not in recipe.variables[name]:
            refuse_unsuitable(recipe, name, value, recipe.variables[name])
        new["job_configuration"]["variables"][name] = placeholder(name)
        form["properties"].setdefault(name, deepcopy(fresh["variables"]["properties"][name]))
    if name not in form["properties"]:
        raise no_such_variable(recipe, name)
    form["properties"][name]["default"] = value


def _fix(new: Template, recipe: Recipe, name: str, value: Any) -> None:  # noqa: ANN401
    if name.partition(".")[0] in _MAPPINGS:
        raise VariableError(
            f"--fix {name}: what deployments add to env and labels cannot be fixed; --set gives a default."
        )
    if name not in recipe.variables and name not in COMMON:
        raise no_such_variable(recipe, name)
    if "{{" in str(value):
        raise VariableError(f"--fix {name}: Prefect takes what is in {{{{ }}}} for a placeholder of its own.")
    if name in recipe.variables and value not in (None, "") and "block" not in recipe.variables[name]:
        refuse_unsuitable(recipe, name, value, recipe.variables[name])
    job = new["job_configuration"]
    (job["variables"] if name in recipe.variables else job)[name] = value
    new["variables"]["properties"].pop(name, None)


def _let_fixed_pass(new: Template, recipe: Recipe) -> None:
    """A deployment may go on setting what was fixed, without effect: its runs would be refused otherwise."""
    form = new["variables"]
    form["required"] = [name for name in form["required"] if name in form["properties"]]
    gone = [name for name in (*recipe.variables, *COMMON) if name not in form["properties"]]
    form["patternProperties"].update({f"^{name}$": {} for name in gone})


def _refuse_unknown_placeholders(new: Template) -> None:
    """Prefect refuses them too, but does not say whose they are."""
    for place, value in _texts(new["job_configuration"]):
        for found in _PLACEHOLDER_RE.finditer(value):
            if re.split(r"[.\[]", found[1])[0] not in new["variables"]["properties"]:
                raise PoolError(f"job_configuration.{place} of the pool has {found[0]}, which its form has no more.")


def _texts(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if place or key != "recipe":
                yield from _texts(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{place}[{number}]")
