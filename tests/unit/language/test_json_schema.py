"""The language as JSON Schema: what an editor allows, and what it marks as wrong."""

import json

import jsonschema
import pytest

from generic_worker.language.json_schema import language_schema


def schema_errors(data):
    validator = jsonschema.Draft202012Validator(language_schema())
    return [error.message for error in validator.iter_errors(data)]


def test_the_schema_is_json_schema_and_describes_every_key():
    schema = language_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    for name, definition in schema["$defs"].items():
        for key, value in definition.get("properties", {}).items():
            assert value.get("description"), f"{name}.{key}"


@pytest.mark.parametrize(
    "change",
    [
        {"submitt": {}},
        {"submit": {"runn": ["a"]}},
        {"submit": {"run": []}},
        {"submit": {"timeout": "long"}},
        {"submit": {"output": {"regexp": "x"}}},
        {"states": {"done": ["x"]}},
        {"policy": {"poll": 0}},
        {"cancel": {"append": [{"absent": "x"}]}},
    ],
)
def test_the_schema_refuses_what_the_language_has_not(change):
    assert schema_errors({"recipe": 1, "name": "x", "extends": "slurm", **change})


def test_the_schema_asks_for_what_a_recipe_needs_unless_it_extends_another():
    assert sorted(schema_errors({"recipe": 1, "name": "x"})) == [
        "'cancel' is a required property",
        "'states' is a required property",
        "'status' is a required property",
        "'submit' is a required property",
    ]
    assert schema_errors({"recipe": 1, "name": "x", "extends": "slurm"}) == []


def test_the_schema_allows_an_overlay_to_remove_and_to_append():
    change = {
        "extends": "slurm",
        "variables": {"qos": None},
        "requires": {"append": ["module"]},
        "submit": {"timeout": 120, "run": {"append": ["--exclusive"]}, "transient": None},
        "status": {"append": [{"run": ["x"], "output": {"columns": ["id", "state"]}}]},
        "states": {"failed": {"append": ["LOST"]}, "cancelled": None},
        "via": None,
    }

    assert schema_errors({"recipe": 1, "name": "x", **change}) == []


def test_the_schema_is_one_that_other_programs_read():
    assert "(?P<" not in json.dumps(language_schema())
    assert '"format": "regex"' not in json.dumps(language_schema())
