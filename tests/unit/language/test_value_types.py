"""The kinds of values that a recipe is made of, each by itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from generic_worker.language.value_types import (
    JOB_NAMES,
    Closed,
    EnvironmentName,
    FileName,
    Pattern,
    Run,
    Seconds,
    VariableName,
    Whole,
)


def read(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind).validate_python(value)


def refused(kind: Any, value: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    return [problem["msg"] for problem in caught.value.errors()]


def test_a_whole_number_is_a_word_and_other_numbers_are_not() -> None:
    assert read(Run, ["launch", 7, ["-x", 8]]) == ["launch", "7", ["-x", "8"]]
    for value in (0.5, True, None):
        assert refused(Run, ["launch", value])


@pytest.mark.parametrize(
    ("value", "count"),
    [("", 1), ([], 1), ({}, 1), (None, 1), (["a", 0.5, ["b", 0.5]], 2)],
    ids=["no script", "no words", "a mapping", "null", "two wrong words"],
)
def test_what_is_no_command_is_one_error_for_each_wrong_value(value: Any, count: int) -> None:
    assert len(refused(Run, value)) == count


@pytest.mark.parametrize("name", ["_x", "1x", "X", "x-y", "x y", "", "ä", "x\n"])
def test_what_is_no_name_of_a_variable_or_file(name: str) -> None:
    message = "a name is lower case letters, digits and underscores, a letter first"

    assert refused(VariableName, name) == refused(FileName, name) == [message]


@pytest.mark.parametrize(
    "name",
    [*JOB_NAMES, "job_anything", "file_anything", "name", "recipe", "variables", "http_proxy", "no_proxy", "none"],
)
def test_names_that_have_a_meaning_are_no_names_of_variables(name: str) -> None:
    assert refused(VariableName, name) == ["this name has a meaning of its own: choose another"]
    assert read(FileName, name) == name


@pytest.mark.parametrize("name", ["1A", "A-B", "A B", "", "A=B"])
def test_what_is_no_name_of_an_environment_variable(name: str) -> None:
    assert refused(EnvironmentName, name) == ["an environment variable's name is letters, digits and underscores"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "not a regular expression: missing ), unterminated subpattern at position 0"),
        ("a{99999999999}", "not a regular expression: the repetition number is too large"),
    ],
)
def test_what_is_no_pattern_is_refused_with_the_reason(pattern: str, message: str) -> None:
    assert refused(Pattern, pattern) == [message]


def test_numbers_are_numbers_and_not_text_that_looks_like_them() -> None:
    assert (read(Seconds, 1), read(Seconds, 0.5), read(Whole, 3)) == (1.0, 0.5, 3)
    for kind, value in ((Seconds, "1"), (Whole, "1"), (Whole, 1.5), (Whole, True)):
        assert refused(kind, value)


def test_a_mapping_of_the_language_has_no_other_keys_and_does_not_change() -> None:
    class Pair(Closed):
        a: int

    with pytest.raises(ValidationError):
        Pair.model_validate({"a": 1, "b": 2})
    with pytest.raises(ValidationError):
        Pair(a=1).a = 2
