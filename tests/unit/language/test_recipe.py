from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from generic_worker.language.recipe import Recipe
from generic_worker.language.value_types import JOB_NAMES
from generic_worker.library.loading import load

WHOLE: dict[str, Any] = {
    "recipe": 1,
    "name": "sample",
    "submit": {"run": ["launch", 7, ["-x", "y"]], "output": {"regex": r"(?P<id>\d+);(?P<cluster>\w+)"}},
    "status": {"run": "list", "output": {"columns": ["id", "state"]}},
    "cancel": {"run": ["stop"]},
    "states": {"finished": ["done", 4]},
}


def recipe(**changed: Any) -> Recipe:
    return Recipe.model_validate(WHOLE | changed)


def test_one_command_or_a_list_of_them() -> None:
    status, cancel = WHOLE["status"], WHOLE["cancel"]
    several = recipe(status=[status, status], cancel=[cancel, cancel])

    assert [path for path, _ in recipe().operations()] == [("submit",), ("status",), ("cancel",)]
    assert len(recipe().statuses) == len(recipe().cancels) == 1
    assert len(several.statuses) == len(several.cancels) == 2
    assert [path for path, _ in several.operations()] == [
        ("submit",),
        ("status", 0),
        ("status", 1),
        ("cancel", 0),
        ("cancel", 1),
    ]


def test_every_operation_has_its_path() -> None:
    one = {"run": ["x"]}
    find = one | {"output": {"columns": ["id", "key"]}}
    full = recipe(check=one, find=find, explain=find, logs=one, cleanup=one)

    assert {path[0] for path, _ in full.operations()} == {
        *("check", "submit", "find", "status", "explain", "cancel", "logs", "cleanup")
    }
    assert all(operation is getattr(full, str(path[0])) for path, operation in full.operations())


def test_expressions_may_name_variables_files_and_what_submit_captured() -> None:
    subject = recipe(variables={"queue": {}}, files={"manifest": "x"})

    assert subject.names == {*JOB_NAMES, "queue", "file_manifest", "job_cluster"}


def test_blocks_and_passwords_are_known_by_their_schemas() -> None:
    variables = {"aws": {"block": "aws-credentials"}, "a": {"format": "password"}, "b": {"writeOnly": True}, "c": {}}
    subject = recipe(variables=variables)

    assert subject.blocks == {"aws": "aws-credentials"}
    assert subject.passwords == {"a", "b"}


def test_a_recipe_does_not_change() -> None:
    with pytest.raises(ValidationError):
        recipe().name = "other"  # type: ignore[misc]


def test_defaults_are_as_the_language_says() -> None:
    subject = load("process").recipe.model_copy(update={"policy": recipe().policy})

    assert subject.policy.model_dump() == {
        "poll": 15,
        "batch": 500,
        "commands": 4,
        "absent": "lost",
        "lost_polls": 3,
        "lost_after": 60,
        "grace": 30,
        "visible_after": 5,
        "retry_for": 600,
        "find_for": None,
        "pending_for": None,
        "resubmit": None,
    }
    assert recipe().submit.timeout == 60
    assert recipe().script.interpreter == "/bin/sh"
