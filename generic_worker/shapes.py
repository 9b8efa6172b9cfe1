"""What pydantic says of a misshapen recipe, in words that its author can act on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from generic_worker.recipe import Recipe
from generic_worker.source import closest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generic_worker.errors import Problem
    from generic_worker.source import Path, Source

_TAG_RE = re.compile(r"<[a-z]+>")


def shape_problem(source: Source, details: Mapping[str, Any]) -> Problem:
    """One of pydantic's errors in our words."""
    path: Path = tuple(
        part for part in details["loc"] if not (isinstance(part, str) and (_TAG_RE.fullmatch(part) or part == "[key]"))
    )
    kind, found = details["type"], details["input"]
    if kind == "extra_forbidden":
        return source.problem(path, f"unknown key.{did_you_mean(str(path[-1]), _known_keys(path[:-1]))}")
    if kind == "missing":
        return source.problem(path, "this key is missing.")
    if kind == "string_type" and isinstance(found, (bool, float)):
        shown = str(found).lower() if isinstance(found, bool) else found
        return source.problem(path, f"expected text, found {shown}. Write it in quotes: '{shown}'.")
    expected = _EXPECTED.get(kind)
    if expected:
        return source.problem(path, f"expected {expected}, found {_shown(found)}.")
    message = details["msg"].removeprefix("Input should be ")
    if kind in {"name", "pattern", "kind"}:
        return source.problem(path, f"{message[0].upper()}{message[1:]}.")
    if kind == "literal_error":
        extra = did_you_mean(str(found), re.findall(r"'([^']*)'", message))
        return source.problem(path, f"expected {message}, found {_shown(found)}.{extra}")
    if kind == "string_pattern_mismatch":
        return source.problem(path, f"{_shown(found)} does not match {details['ctx']['pattern']}.")
    return source.problem(path, f"expected {message}, found {_shown(found)}.")


_EXPECTED = {
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
}


def _known_keys(path: Path) -> list[str]:
    """The keys that the language has at a path."""
    schema = Recipe.model_json_schema()
    node: Any = schema
    for part in path:
        node = next((n for n in _alternatives(schema, node) if isinstance(part, int) or part in n.get("properties", {})), {})
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return [key for option in _alternatives(schema, node) for key in option.get("properties", {})]


def _alternatives(schema: Mapping[str, Any], node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in node:
        return _alternatives(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
    options = [option for key in ("anyOf", "oneOf", "allOf") for option in node.get(key, [])]
    return [found for option in options for found in _alternatives(schema, option)] or [node]


def did_you_mean(word: str, known: list[str]) -> str:
    suggestion = closest(word, known)
    if suggestion:
        return f" Did you mean {suggestion!r}?"
    return f" Known here: {', '.join(sorted(known))}." if known else ""


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line of an error message
