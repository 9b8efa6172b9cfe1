"""A recipe in, a base job template out: a work pool's form, with the recipe inside; and what may be filled into it.

Every recipe variable is a placeholder of Prefect's in one place, `job_configuration.variables`, so that a pool's owner
can hard-code it, set it from other variables, or mix both, as with any worker.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from generic_worker.commands.masking import mask_named
from generic_worker.errors import VariableError
from generic_worker.language.environment import LABEL_PATTERN, NAME_PATTERN
from generic_worker.language.patterns import time_limit
from generic_worker.library.schemas import SECONDS, unsuitable

if TYPE_CHECKING:
    from generic_worker.language.recipe import Recipe
    from generic_worker.library.loading import Loaded

COMMON: dict[str, dict[str, Any]] = {  # what every pool has, whatever its recipe
    "name": {
        "title": "Name",
        "type": "string",
        "description": "Name of the job, for people; the flow run's when empty. {{ ctx.flow.name }} works here.",
    },
    "env": {
        "title": "Environment variables",
        "type": "object",
        "default": {},
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {"type": ["string", "null"]},
        "description": "Environment of the flow run.",
    },
    "labels": {
        "title": "Labels",
        "type": "object",
        "default": {},
        "propertyNames": {"pattern": LABEL_PATTERN},
        "additionalProperties": {"type": "string"},
        "description": "Labels of the job, where the infrastructure has labels.",
    },
    "command": {
        "title": "Command",
        "type": "string",
        "description": "Command that executes the flow run. Leave it empty: the worker knows it.",
    },
}
_DOTTED = {r"^(env|labels)\.": {"type": ["string", "null"]}}
"""Prefect takes `env.NAME` for an entry of `env`; the form refuses every other name that it does not know."""


_LONGEST = 300
"""Characters of what is wrong with a value that a message shows."""


def base_job_template(loaded: Loaded, *, name_only: bool = False) -> dict[str, Any]:
    """Make the base job template of a work pool that uses a recipe.

    Args:
        loaded: The recipe.
        name_only: Whether the template refers to the recipe by name, so that each worker reads its own copy.
    """
    recipe = loaded.recipe
    properties = {
        **deepcopy(COMMON),
        **{name: form_property(name, schema) for name, schema in recipe.variables.items()},
    }
    blocks = {
        _definition(name): {
            "title": slug,
            "type": "object",
            "properties": {},
            "block_type_slug": slug,
            "block_schema_references": {},
        }
        for name, slug in recipe.blocks.items()
    }
    variables: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": list(recipe.required),
        "additionalProperties": False,
        "patternProperties": deepcopy(_DOTTED),
    }
    return {
        "job_configuration": {
            **{name: placeholder(name) for name in COMMON},
            "recipe": recipe.name if name_only else loaded.data,
            "variables": {name: placeholder(name) for name in recipe.variables},
        },
        "variables": {**variables, "definitions": blocks} if blocks else variables,
    }


def placeholder(name: str) -> str:
    """How a base job template refers to one of its variables."""
    return f"{{{{ {name} }}}}"


def checked_variables(recipe: Recipe, values: dict[str, Any]) -> dict[str, Any]:
    """The value of every variable of a recipe: given, or its default, or None.

    Prefect has checked them against the pool's form before it put blocks and variables in their places; this is after.

    Raises:
        VariableError: A value is missing, or is not what the variable's schema allows.
    """
    complete: dict[str, Any] = {}
    with time_limit(SECONDS):  # together
        for name, schema in recipe.variables.items():
            value = values.get(name)
            value = schema.get("default") if value is None else value
            if value in (None, ""):
                if name in recipe.required:
                    raise VariableError(f"{recipe.name}: the variable {name} is required and has no value.")
            elif "block" not in schema:
                refuse_unsuitable(recipe, name, value, schema)
            complete[name] = value
    for name in sorted(set(values) - set(recipe.variables))[:1]:
        raise no_such_variable(recipe, name)
    return complete


def refuse_unsuitable(recipe: Recipe, name: str, value: Any, schema: dict[str, Any]) -> None:  # noqa: ANN401
    """Refuse a value that is not what a schema allows; a secret is not repeated.

    Raises:
        VariableError: It is not.
    """
    if wrong := unsuitable(value, schema):
        said = mask_named(wrong, {name: value})
        why = "" if name in recipe.passwords else f": {said if len(said) <= _LONGEST else said[:_LONGEST] + '...'}"
        raise VariableError(f"{recipe.name}: the variable {name} has a value that does not suit it{why}.")


def no_such_variable(recipe: Recipe, name: str) -> VariableError:
    """What is said when a value is given for a variable that a recipe has not."""
    known = ", ".join(recipe.variables) or "none"
    return VariableError(f"{recipe.name}: the recipe has no variable {name!r}; it has {known}.")


def form_property(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """How a recipe's variable stands in a pool's form."""
    title = schema.get("title") or name.replace("_", " ").capitalize()
    if "block" not in schema:
        return {"title": title, **deepcopy(schema)}
    kept = {key: value for key, value in schema.items() if key != "block"}
    return {"title": title, **kept, "allOf": [{"$ref": f"#/definitions/{_definition(name)}"}]}


def _definition(name: str) -> str:
    return f"{name}_block"
