"""Which values a schema allows, and that no value makes that a matter of years."""

from __future__ import annotations

import pytest

from generic_worker.library.schemas import takes, unsuitable

SLOW, LONG = "^(?:a|aa)+$", "a" * 80 + "!"
NAMED = {"patternProperties": {"^x-[a-z]+$": {"type": "integer"}}, "properties": {"name": {}}}


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        ("ab", {"pattern": "^[a-z]+$"}, ""),
        ("ab\n", {"pattern": "^[a-z]+$"}, "'ab\\n' does not match '^[a-z]+$'"),
        ("a$b", {"pattern": r"^a\$[b$]$"}, ""),
        (5, {"pattern": "^a"}, ""),
        ({"x-a": 1, "name": "n"}, NAMED | {"additionalProperties": False}, ""),
        ({"x-a": "1"}, NAMED, "'1' is not of type 'integer'"),
        ({"x-a\n": 1}, NAMED | {"additionalProperties": False},
         "Additional properties are not allowed ('x-a\\n' was unexpected)"),
        ({"x-a": 1, "more": 1}, NAMED | {"additionalProperties": {"type": "string"}}, "1 is not of type 'string'"),
        (["a", "B"], {"items": {"pattern": "^[a-z]$"}}, "'B' does not match '^[a-z]$'"),
        ({"A": "x"}, {"propertyNames": {"pattern": "^[a-z]$"}}, "'A' does not match '^[a-z]$'"),
    ],
)  # fmt: skip
def test_a_value_is_held_to_a_schema(value, schema, wrong):
    assert unsuitable(value, schema) == wrong


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (LONG, {"pattern": SLOW}),
        (LONG, {"not": {"pattern": SLOW}}),
        (LONG, {"anyOf": [{"pattern": SLOW}, {"type": "string"}]}),
        ([LONG] * 10_000, {"items": {"pattern": SLOW}}),
        ({LONG: 1}, {"patternProperties": {SLOW: {}}}),
        ({LONG: 1}, {"patternProperties": {SLOW: {}}, "additionalProperties": False}),
        ({LONG: 1}, {"propertyNames": {"pattern": SLOW}}),
    ],
)
def test_a_value_for_which_a_pattern_takes_too_long_is_not_allowed(value, schema):
    assert unsuitable(value, schema) == f"the pattern {SLOW!r} takes too long for it"


def test_a_form_takes_names_by_its_patterns():
    form = {"additionalProperties": False, "patternProperties": {r"^(env|labels)\.": {}}}

    assert [takes(form, name) for name in ("env.A", "labels.b", "queue")] == [True, True, False]
    assert takes({}, "queue")
    assert not takes({"additionalProperties": False, "patternProperties": {SLOW: {}}}, LONG)
