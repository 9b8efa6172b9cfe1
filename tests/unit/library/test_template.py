from __future__ import annotations

from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest
from prefect.server.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.utilities.schema_tools import is_valid_schema, validate
from prefect.utilities.schema_tools.validation import ValidationError

from generic_worker.errors import VariableError
from generic_worker.library.loading import found_recipes, load
from generic_worker.library.template import base_job_template, checked_variables, placeholder

SAMPLE = """\
recipe: 1
name: sample
variables:
  queue: {type: string, pattern: '^[a-z]+$', description: Queue to submit to.}
  cpus: {type: integer, minimum: 1, default: 1, title: CPUs}
  options: {type: array, items: {type: string}, default: []}
  size: {enum: [small, big]}
  aws: {block: aws-credentials, description: Who submits.}
  git: {block: github-credentials, title: GitHub}
required: [size]
env: {A: '${aws.aws_access_key_id}', B: '${git.token}'}
submit: {run: [launch, '-q${queue}', '-c${cpus}', '-s${size}', '${options}'], output: {columns: [id]}}
status: {run: [list], output: {columns: [id, state]}}
cancel: {run: [stop]}
states: {finished: [done]}
"""
RECIPES = sorted(found_recipes())


def template(text: str = SAMPLE, *, name_only: bool = False) -> dict[str, Any]:
    return base_job_template(load(text), name_only=name_only)


def refusal(values: dict[str, Any], **keywords: Any) -> str:
    """What Prefect's server says of a deployment's job variables."""
    try:
        validate(values, template()["variables"], raise_on_error=True, preprocess=True, **keywords)
    except ValidationError as error:
        return str(error)
    return ""


def test_the_whole_template() -> None:
    loaded = load(SAMPLE)
    made = base_job_template(loaded)
    variables = made["variables"]

    assert made["job_configuration"] == {
        "name": "{{ name }}",
        "env": "{{ env }}",
        "labels": "{{ labels }}",
        "command": "{{ command }}",
        "recipe": loaded.data,
        "variables": {
            "queue": "{{ queue }}",
            "cpus": "{{ cpus }}",
            "options": "{{ options }}",
            "size": "{{ size }}",
            "aws": "{{ aws }}",
            "git": "{{ git }}",
        },
    }
    assert list(variables["properties"]) == [
        *("name", "env", "labels", "command"),
        *("queue", "cpus", "options", "size", "aws", "git"),
    ]
    assert variables["properties"]["queue"] == {
        "title": "Queue",
        "type": "string",
        "pattern": "^[a-z]+$",
        "description": "Queue to submit to.",
    }
    assert variables["properties"]["cpus"]["title"] == "CPUs"
    assert variables["properties"]["aws"] == {
        "title": "Aws",
        "description": "Who submits.",
        "allOf": [{"$ref": "#/definitions/aws_block"}],
    }
    assert variables["required"] == ["size"]
    assert variables["additionalProperties"] is False
    assert {name: block["block_type_slug"] for name, block in variables["definitions"].items()} == {
        "aws_block": "aws-credentials",
        "git_block": "github-credentials",
    }


def test_a_template_may_refer_to_its_recipe_by_name() -> None:
    assert template(name_only=True)["job_configuration"]["recipe"] == "sample"
    assert template(name_only=True)["variables"] == template()["variables"]


def test_a_template_without_blocks_has_no_definitions() -> None:
    assert "definitions" not in base_job_template(load("slurm"))["variables"]


def test_a_template_shares_nothing_with_its_recipe() -> None:
    loaded = load(SAMPLE)
    before = deepcopy(loaded.data)
    base_job_template(loaded)["variables"]["properties"]["options"]["items"]["type"] = "integer"

    assert loaded.data == before
    assert template()["variables"]["properties"]["options"]["items"]["type"] == "string"


def test_a_placeholder_is_prefects() -> None:
    assert placeholder("queue") == "{{ queue }}"


# What Prefect's server makes of it


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("name_only", [False, True])
def test_prefect_accepts_the_template_of_a_bundled_recipe(name: str, name_only: bool) -> None:
    made = base_job_template(load(name), name_only=name_only)

    assert WorkPoolCreate(name="pool", type="generic", base_job_template=made).base_job_template == made
    assert WorkPoolUpdate(base_job_template=made).base_job_template == made
    is_valid_schema(made["variables"])


@pytest.mark.parametrize("name", RECIPES)
def test_the_defaults_of_a_bundled_recipe_are_accepted(name: str) -> None:
    made = base_job_template(load(name))["variables"]
    defaults = {key: one["default"] for key, one in made["properties"].items() if "default" in one}

    assert validate({}, made, preprocess=True, ignore_required=True) == []
    assert validate(defaults, made, preprocess=True, ignore_required=True) == []


@pytest.mark.parametrize(
    "values",
    [
        {"size": "big"},
        {"size": "big", "queue": "fast", "cpus": 4, "options": ["-x"], "name": "n", "command": "c"},
        {"size": "big", "queue": None},
        {"size": "big", "env": {"A": "b", "C": None}, "labels": {"team": "x"}},
        {"size": "big", "env.A": "b", "env.B.C": None, "labels.team": "x"},
        {"size": "big", "aws": {"$ref": {"block_document_id": str(uuid4())}}},
        {"size": "big", "aws": {"aws_access_key_id": "inline"}},
    ],
)
def test_prefect_accepts_what_a_deployment_may_set(values: dict[str, Any]) -> None:
    assert refusal(values) == ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Validation failed. Failure reason: 'size' is a required property"),
        (
            {"size": "big", "qeue": "fast"},
            "Validation failed. Failure reason: 'qeue' does not match any of the regexes: '^(env|labels)\\\\.'",
        ),
        (
            {"size": "big", "queue": "Fast"},
            "Validation failed for field 'queue'. Failure reason: 'Fast' does not match '^[a-z]+$'",
        ),
        (
            {"size": "big", "cpus": "four"},
            "Validation failed for field 'cpus'. Failure reason: 'four' is not of type 'integer'",
        ),
        (
            {"size": "big", "labels": {"team": 5}},
            "Validation failed for field 'labels.team'. Failure reason: 5 is not of type 'string'",
        ),
        (
            {"size": "big", "aws": "a-name"},
            "Validation failed for field 'aws'. Failure reason: 'a-name' is not of type 'object'",
        ),
        (
            {"size": "big", "env.A": 5},
            "Validation failed for field \"$['env.A']\". Failure reason: 5 is not of type 'string', 'null'",
        ),
    ],
)
def test_prefect_refuses_what_a_deployment_may_not_set(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == message


# Values, when Prefect has put them in their places


def test_the_values_of_variables_are_given_or_defaults_or_null() -> None:
    recipe = load(SAMPLE).recipe

    assert checked_variables(recipe, {"size": "big", "options": None, "aws": {"aws_access_key_id": "x"}}) == {
        "queue": None,
        "cpus": 1,
        "options": [],
        "size": "big",
        "aws": {"aws_access_key_id": "x"},
        "git": None,
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "sample: the variable size is required and has no value."),
        ({"size": ""}, "sample: the variable size is required and has no value."),
        (
            {"size": "huge"},
            "sample: the variable size has a value that does not suit it: 'huge' is not one of ['small', 'big'].",
        ),
        (
            {"size": "big", "queu": "x"},
            "sample: the recipe has no variable 'queu'; it has queue, cpus, options, size, aws, git.",
        ),
    ],
)
def test_a_value_that_does_not_suit_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(VariableError) as caught:
        checked_variables(load(SAMPLE).recipe, values)

    assert str(caught.value) == message


def test_the_value_of_a_password_is_not_told() -> None:
    text = SAMPLE.replace("queue: {type: string,", "queue: {type: string, format: password,").replace(
        "'-q${queue}', ", ""
    )

    with pytest.raises(VariableError) as caught:
        checked_variables(load(text).recipe, {"size": "big", "queue": "Secret-1"})

    assert str(caught.value) == "sample: the variable queue has a value that does not suit it."


def test_a_pattern_holds_a_value_to_its_very_end():
    recipe = load("docker").recipe

    assert checked_variables(recipe, {"memory": "2g"})["memory"] == "2g"
    with pytest.raises(VariableError) as caught:
        checked_variables(recipe, {"memory": "2g\n"})

    assert str(caught.value).startswith(
        "docker: the variable memory has a value that does not suit it: '2g\\n' does not"
    )
