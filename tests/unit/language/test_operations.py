"""What a command of a recipe may be told, and the fields that its output yields."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from generic_worker.language.operations import Operation, Output, Status, Submit


def message(error: ValidationError) -> str:
    return " / ".join(problem["msg"] for problem in error.errors())


@pytest.mark.parametrize(
    ("output", "fields"),
    [
        ({"regex": r"(?P<id>\d+) (\w+) (?P<state>\w+)"}, {"id", "state"}),
        ({"columns": ["id", "state"], "separator": "|"}, {"id", "state"}),
        (
            {"json": "$", "fields": {"id": "a", "state": ["b", "c"], "key": {"path": "d", "default": 0}}},
            {"id", "state", "key"},
        ),
    ],
)
def test_the_fields_that_an_output_yields(output: dict[str, Any], fields: set[str]) -> None:
    assert Output.model_validate(output).field_names == fields


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({}, "write exactly one of regex, json and columns; found none"),
        (
            {"regex": "(?P<id>.)", "columns": ["id"]},
            "write exactly one of regex, json and columns; found regex and columns",
        ),
        ({"json": "$"}, "write json and fields together"),
        ({"columns": ["id"], "fields": {"id": "a"}}, "write json and fields together"),
        ({"regex": "(?P<id>.)", "separator": "|"}, "write separator with columns only"),
    ],
)
def test_an_output_is_read_in_one_way(output: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Output.model_validate(output)

    assert message(caught.value) == expected


def test_an_output_is_read_from_standard_output_unless_it_says_otherwise() -> None:
    assert Output.model_validate({"columns": ["id"]}).from_ == "stdout"
    assert Output.model_validate({"columns": ["id"], "from": "stderr"}).from_ == "stderr"


@pytest.mark.parametrize(("timeout", "right"), [(0.5, True), (86400, True), (0, False), (-1, False), (86401, False)])
def test_a_command_has_a_time_limit(timeout: float, right: bool) -> None:
    data = {"run": ["x"], "timeout": timeout}
    if right:
        assert Operation.model_validate(data).timeout == timeout
        return
    with pytest.raises(ValidationError):
        Operation.model_validate(data)


def test_patterns_are_read_line_by_line() -> None:
    submit = Submit.model_validate(
        {"run": ["x"], "output": {"columns": ["id"]}, "transient": "^busy$", "trouble": "(?i)error"}
    )

    assert (submit.transient, submit.trouble) == ("^busy$", "(?i)error")


def test_what_a_command_is_not_told_it_does_not_do() -> None:
    status = Status.model_validate({"run": "list", "output": {"columns": ["id", "state"]}})

    assert (status.stdin, status.env, status.trouble, status.absent, status.optional) == (None, {}, None, None, False)
