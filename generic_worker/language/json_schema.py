"""The language as JSON Schema, for editors: of a whole recipe, and of one that extends another."""

from __future__ import annotations

from typing import Any

from generic_worker.language.recipe import Recipe


def language_schema() -> dict[str, Any]:
    """The language as JSON Schema, for editors. A recipe that extends another may leave out, remove and append."""
    full = Recipe.model_json_schema()
    definitions = _for_editors({**full.pop("$defs"), "Recipe": full})
    site = {f"Site{name}": _overlay(schema) for name, schema in definitions.items()}
    site["SiteRecipe"] |= {"required": ["recipe", "name", "extends"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of prefect-generic-worker",
        "description": full["description"],
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/SiteRecipe"},
        "else": {"$ref": "#/$defs/Recipe"},
        "$defs": {**definitions, **site},
    }


def _for_editors(node: Any) -> Any:  # noqa: ANN401
    """A schema without what editors misunderstand: Python's patterns, and a title that only repeats the key."""
    if isinstance(node, list):
        return [_for_editors(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: item for key, item in node.items() if (key, item) != ("format", "regex")}
    return {key: _for_editors(item) for key, item in kept.items() if key != "title" or isinstance(item, dict)}


def _overlay(node: dict[str, Any]) -> dict[str, Any]:
    """What may stand in a recipe that extends another: a part of a mapping, null, or items to append."""
    found = {key: item for key, item in node.items() if key not in {"required", "oneOf", "anyOf"}}
    if "$ref" in found:
        found["$ref"] = found["$ref"].replace("#/$defs/", "#/$defs/Site")
    if found.get("type") == "array":
        append = {
            "type": "object",
            "properties": {"append": found},
            "required": ["append"],
            "additionalProperties": False,
        }
        return {"anyOf": [found, append]}
    options = node.get("oneOf", node.get("anyOf", []))
    if options:
        found["anyOf"] = [_overlay(option) for option in options]
    for key in ("properties", "patternProperties"):
        if key in found:
            found[key] = {name: _removable(item) for name, item in found[key].items()}
    if isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = _removable(found["additionalProperties"])
    return found


def _removable(node: dict[str, Any]) -> dict[str, Any]:
    about = {key: item for key, item in node.items() if key in {"description", "default"}}
    found = _overlay({key: item for key, item in node.items() if key not in about})
    options = found["anyOf"] if set(found) == {"anyOf"} else [found]
    return {**about, "anyOf": [*(option for option in options if option != {"type": "null"}), {"type": "null"}]}
