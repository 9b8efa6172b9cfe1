"""Values held to JSON Schema: to that of a recipe's variable, or of a field of a pool's form.

Patterns have a time limit here, and their `$` is the very end. jsonschema's own are those of `re`, which holds up the
event loop for as long as a pattern takes, and lets a line break follow the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jsonschema
from jsonschema.exceptions import best_match

from generic_worker.language.patterns import SlowPatternError, search, time_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECONDS = 0.05
"""Seconds for all patterns of a look at what a deployment has given: nothing else happens meanwhile."""
NOT_HELD = "unevaluatedProperties"
"""The one keyword with patterns that is not held to here."""
_END_RE = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|\$", re.DOTALL)
"""What ends a pattern, as JSON Schema has it; not one in a set of characters, and not an escaped one."""
_BASE = jsonschema.Draft202012Validator


def unsuitable(value: object, schema: Mapping[str, Any]) -> str:
    """What is wrong with a value; empty where a schema allows it.

    A pattern that takes too long ends the look at once, whatever else the schema says: a value is never allowed because
    it could not be told in time that it is not.
    """
    try:
        with time_limit(SECONDS):
            error = best_match(_Validator(dict(schema)).iter_errors(value))
    except SlowPatternError as slow:
        return f"the pattern {slow.pattern!r} takes too long for it"
    return "" if error is None else str(error.message)


def takes(form: Mapping[str, Any], name: str) -> bool:
    """Whether a form takes a value of a name for which it has no field, such as `env.NAME`."""
    try:
        with time_limit(SECONDS):
            return bool(form.get("additionalProperties", True)) or _takes(form, name)
    except SlowPatternError:
        return False


def _takes(schema: Mapping[str, Any], name: str) -> bool:
    return any(_found(pattern, name) for pattern in schema.get("patternProperties", {}))


def _found(pattern: str, text: str) -> bool:
    whole = _END_RE.sub(lambda found: found[1] or r"\Z", pattern)
    try:
        return search(whole, text, by_line=False) is not None
    except SlowPatternError:
        raise SlowPatternError(pattern) from None


def _pattern(validator: Any, pattern: str, value: Any, _: object) -> Iterator[jsonschema.ValidationError]:  # noqa: ANN401
    if validator.is_type(value, "string") and not _found(pattern, value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any,  # noqa: ANN401 - jsonschema's
    schemas: Mapping[str, Any],
    value: Any,  # noqa: ANN401
    _: object,
) -> Iterator[jsonschema.ValidationError]:
    for pattern, schema in schemas.items() if validator.is_type(value, "object") else ():
        for name, item in value.items():
            if _found(pattern, name):
                yield from validator.descend(item, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any,  # noqa: ANN401 - jsonschema's
    allowed: Any,  # noqa: ANN401
    value: Any,  # noqa: ANN401
    schema: Mapping[str, Any],
) -> Iterator[jsonschema.ValidationError]:
    known = dict(schema.get("properties", {}))
    if validator.is_type(value, "object"):
        known |= {name: True for name in value if _takes(schema, name)}
    yield from _BASE.VALIDATORS["additionalProperties"](validator, allowed, value, {"properties": known})


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    _BASE,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    },
)
