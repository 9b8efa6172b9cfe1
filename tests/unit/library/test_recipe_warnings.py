"""Warnings about recipes that can be used."""

from __future__ import annotations

import pytest
from recipe_parts import text

from generic_worker.library.checks import parse
from generic_worker.library.recipe_warnings import warnings
from generic_worker.syntax.yaml_text import read_text

WITHOUT_FIND = (
    "5:1: submit: Without find, a job whose submission did not end well may be lost. Add find if the key can be looked "
    "up."
)
LOGS = "logs:\n  run: |\n    # more and queue\n    true\n"


def told(**changed: str) -> list[str]:
    source = read_text(text(**changed), "x")
    return [str(problem).removeprefix("x:") for problem in warnings(source, parse(source))]


def test_a_good_recipe_has_no_warnings() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"find": ""}, [WITHOUT_FIND,
                        "7:1: status: Nothing shows a job under its own key: a worker that was restarted neither "
                        "cancels it nor cleans up after it. Add find, or the field key to this output."]),
        ({"find": "", "status": "status: {run: [list], output: {columns: [id, key, state]}}"}, [WITHOUT_FIND]),
        ({"find": "", "submit": "submit: {run: [launch, '${queue}', '${more | json}'], output: {id: '${job_key}'}}"},
         [WITHOUT_FIND]),
        ({"states": "states: {running: [R]}", "other": "policy: {absent: ended}"},
         ["9:1: states: No word says that a job has succeeded. A job that is gone has ended, and how, only its flow "
          "run says."]),
        ({"submit": "submit: {run: [launch, '${queue}'], output: {columns: [id]}}"},
         ["3:55: variables.more: No command uses this variable."]),
        ({"other": LOGS}, []),
        ({"submit": "submit: {run: [launch, '${more}', '${queue}'], output: {columns: [id]}}"},
         ["5:24: submit.run[1]: A value of more that begins with a dash would be an option. Put '--' before it, or "
          "give more a pattern that excludes it, such as '^[^-]'."]),
        ({"submit": "submit: {run: [launch, --, '${more}', '${queue}'], output: {columns: [id]}}"}, []),
        ({"other": "logs: {run: [logs, '${job_name}']}"},
         ["10:20: logs.run[1]: A job_name that begins with a dash would be an option. Write --name=${job_name}, or put "
          "'--' before it."]),
        ({"other": "logs: {run: [logs, '--queue=$queue', '$$job_id', '$other']}"},
         ["10:20: logs.run[1]: In a list '$queue' stays as it is. Write ${queue}."]),
    ],
)  # fmt: skip
def test_what_is_doubtful_is_told(changed: dict[str, str], expected: list[str]) -> None:
    assert told(**changed) == expected


@pytest.mark.parametrize(
    "schema",
    [
        "{type: integer}",
        "{type: boolean}",
        "{enum: [a, b]}",
        "{type: string, pattern: '^[a-z]+$'}",
        "{type: array, items: {type: string, pattern: '^[^-]'}}",
        "{type: array, items: {type: string}, description: Further options of launch.}",
    ],
)
def test_a_value_that_cannot_be_an_option_or_is_meant_to_be_one_is_not_doubtful(schema: str) -> None:
    variables = f"variables: {{queue: {schema}, more: {{type: integer}}}}"

    assert told(variables=variables) == []
