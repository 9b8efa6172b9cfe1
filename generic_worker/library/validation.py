"""What is misshapen in a recipe, in words that its author can act on; and what is left of it without that."""

from __future__ import annotations

import re
from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jsonschema
from pydantic import ValidationError

from generic_worker.language.recipe import LANGUAGE_VERSION, Recipe
from generic_worker.library.schemas import NOT_HELD, unsuitable
from generic_worker.syntax.source import closest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from generic_worker.errors import Problem
    from generic_worker.syntax.source import Path, Source

_TAG_RE = re.compile(r"<[a-z]+>")
_LONGEST = 80
_ROUNDS = 4
"""How often a recipe is mended: what one problem hides is the next to be found."""

_EXPECTED = {
    "string": "text",
    "dict": "a mapping",
    "model": "a mapping",
    "list": "a list",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number of seconds",
    "greater": "a number {msg}",
    "less": "a number {msg}",
    "too": "{msg}",
}
_PATTERNS = {
    r"^[a-z][a-z0-9-]*$": "lower case letters, digits and dashes, a letter first",
    r"^[a-z][a-z0-9_]*$": "lower case letters, digits and underscores, a letter first",
    r"^/\S": "a path that begins with a slash, such as /bin/sh",
}
_COMMAND = {"run": ["-"], "output": {"regex": "(?P<id>-)(?P<key>-)(?P<state>-)"}}
_STAND_INS: dict[str, Any] = {
    "recipe": LANGUAGE_VERSION,
    "name": "unnamed",
    "submit": {"run": ["-"], "output": {"regex": "(?P<id>-)"}},
    "find": _COMMAND,
    "status": _COMMAND,
    "explain": _COMMAND,
    "watch": {"run": ["-"]},
    "check": {"run": ["-"]},
    "cancel": {"run": ["-"]},
    "logs": {"run": ["-"]},
    "cleanup": {"run": ["-"]},
    "via": {"run": ["-"]},
    "states": {"finished": ["-"]},
}
"""Stand-ins for what is missing or misshapen, so that the rest can be checked."""


def mended(source: Source) -> tuple[Recipe | None, list[Problem], list[Path]]:
    """Make a recipe of plain data, whatever is wrong with its shape.

    Returns:
        The recipe, None if it cannot be mended; its problems; and the paths at which it is not what its author wrote.
    """
    data = deepcopy(source.data)
    problems: dict[Path, Problem] = {}
    for _ in range(_ROUNDS):
        try:
            return Recipe.model_validate(data), list(problems.values()), list(problems)
        except ValidationError as error:
            found = [(_path(details["loc"]), details) for details in error.errors()]
        mended_before = tuple(problems)
        for path, details in found:
            if not any(path[: len(known)] == known[: len(path)] for known in mended_before):
                problems[path] = _problem(source, path, details)
        for path, _details in reversed(found):
            _mend(data, path)
    return None, list(problems.values()), list(problems)


def shape_problems(source: Source, *, partial: bool = False) -> list[Problem]:
    """What is misshapen in plain data. Of a part of a recipe nothing can be missing."""
    try:
        Recipe.model_validate(source.data)
    except ValidationError as error:
        details = [one for one in error.errors() if not partial or one["type"] != "missing"]
        return [_problem(source, _path(one["loc"]), one) for one in details]
    return []


def schema_problems(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    """What is wrong with the schemas of a recipe's variables."""
    for name, schema in recipe.variables.items():
        path = ("variables", name)
        if "block" in schema:
            extra = set(schema) - {"block", "title", "description", "default"}
            if not isinstance(schema["block"], str) or extra:
                yield path, "A block variable has the keys block (a block type's slug), title, description and default."
            continue
        validator, wrong = jsonschema.Draft202012Validator, ""
        try:
            validator.check_schema(schema, format_checker=validator.FORMAT_CHECKER)
            if schema.get("default") is not None and "$ref" not in str(schema):
                wrong = unsuitable(schema["default"], schema)
        except jsonschema.SchemaError as error:
            yield (*path, *error.absolute_path), _not_json_schema(error)
        if wrong:
            yield (*path, "default"), f"The default does not suit the schema: {wrong}."
        if NOT_HELD in _keys(schema):
            yield path, f"{NOT_HELD} is not known here. Write additionalProperties."


def _keys(value: object) -> Iterator[str]:
    """All keys that there are in a structure."""
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(item)


def _not_json_schema(error: jsonschema.SchemaError) -> str:
    if error.validator == "format":
        return f"Not a regular expression: {error.instance!r}."
    names = [*jsonschema.Draft202012Validator.TYPE_CHECKER._type_checkers]  # noqa: SLF001 - it has no list of them
    hint = did_you_mean(str(error.instance), names) if error.absolute_path and error.absolute_path[-1] == "type" else ""
    return f"Not JSON Schema: {error.message}.{hint}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """A sentence that suggests one of the known words, or lists them; with a blank before it."""
    suggestion = closest(word, known)
    if suggestion:
        return f" Did you mean {suggestion!r}?"
    return f" Known here: {', '.join(sorted(known))}." if known else ""


def _path(location: Iterable[str | int]) -> Path:
    """Where an error is, without the tags that tell the members of a union apart."""
    return tuple(p for p in location if not (isinstance(p, str) and (_TAG_RE.fullmatch(p) or p == "[key]")))


def _mend(data: Any, path: Path) -> None:  # noqa: ANN401
    """Put a stand-in in the place of what is missing or wrong, or take it out."""
    *above, last = path
    node = data
    for part in above:
        if isinstance(node, (list, dict)):
            node = node[part]  # type: ignore[index]
    operation = next((part for part in path if isinstance(part, str)), "")
    stand_in: Any = _STAND_INS.get(operation)
    for part in path[1:]:
        if isinstance(part, str) and isinstance(stand_in, dict):
            stand_in = stand_in.get(part)
    if isinstance(node, list) and isinstance(last, int) and last < len(node):
        node[last] = deepcopy(stand_in) if isinstance(stand_in, dict) else "-"
    elif isinstance(node, dict):
        node.pop(last, None)
        if stand_in is not None:
            node[last] = deepcopy(stand_in)


def _problem(source: Source, path: Path, details: Mapping[str, Any]) -> Problem:
    """One of pydantic's errors in our words."""
    kind, found, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return source.problem(path, f"Unknown key.{did_you_mean(str(path[-1]), _known_keys(path[:-1]))}")
    if kind == "missing":
        return source.problem(path, "This key is missing.")
    message = re.sub(r"^(Input|List|Dictionary|Tuple|String) should (be|have) ", "", details["msg"])
    if kind in {"name", "pattern", "kind"}:
        return source.problem(path, f"{message[0].upper()}{message[1:]}.")
    if kind == "string_pattern_mismatch":
        expected = _PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    elif kind == "literal_error" and path == ("recipe",):
        expected = f"language version {LANGUAGE_VERSION}"
    elif kind == "literal_error":
        expected = context["expected"]
    else:
        kind = kind.removeprefix("string_") if "_too_" in kind else kind
        expected = _EXPECTED.get(kind.partition("_")[0], "{msg}").format(msg=message.partition(" after validation")[0])
    return source.problem(path, f"Expected {expected}, found {_shown(found)}.{_advice(kind, found, context)}")


def _advice(kind: str, found: object, context: Mapping[str, Any]) -> str:
    """What to write instead, where the mistake is a common one."""
    text = found if isinstance(found, str) else ""
    advice = ""
    if kind == "literal_error" and text:
        suggestion = closest(text, re.findall(r"'([^']*)'", context["expected"]))
        advice = f" Did you mean {suggestion!r}?" if suggestion else ""
    elif kind in {"string_type", "list_type"} and isinstance(found, dict) and set(found) == {"append"}:
        advice = " There is nothing to append to."
    elif kind == "string_type" and isinstance(found, (bool, float, int)):
        advice = f" If it is text, quote it: '{_shown(found)}'."
    elif kind == "string_type" and isinstance(found, dict):
        advice = " Text that holds ': ', or begins with a brace, must be quoted."
    elif kind == "list_type" and re.fullmatch(r"[\w.-]+", text):
        advice = f" Write [{text}]."
    elif kind == "dict_type" and text.startswith("${"):
        advice = " Give each variable a name: NAME: ${...}. A job's own environment goes into stdin or files."
    elif kind == "float_type" and re.match(r"\d", text):
        advice = " Write the number alone, without quotes and unit."
    return advice


def _known_keys(path: Path) -> list[str]:
    """The keys that the language has at a path."""
    schema = _schema()
    node: Any = schema
    for part in path:
        options = _alternatives(schema, node)
        node = next((below for option in options if (below := _below(option, part)) is not None), {})
    return [key for option in _alternatives(schema, node) for key in option.get("properties", {})]


def _below(node: Mapping[str, Any], part: str | int) -> Any:  # noqa: ANN401
    if isinstance(part, int):
        return node.get("items")
    named = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return node.get("properties", {}).get(part) or next((one for one in named if isinstance(one, dict)), None)


@lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    return Recipe.model_json_schema()


def _alternatives(schema: Mapping[str, Any], node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in node:
        return _alternatives(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
    options = [option for key in ("anyOf", "oneOf", "allOf") for option in node.get(key, [])]
    return [found for option in options for found in _alternatives(schema, option)] or [node]


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
