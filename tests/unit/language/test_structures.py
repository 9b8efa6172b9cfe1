"""Expressions in argument vectors, structures and documents."""

from __future__ import annotations

import json

import pytest
from language_values import VALUES

from generic_worker.errors import VariableError
from generic_worker.language.structures import names_in, render_document, render_structure, render_words


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (["-p", "${one}"], ["-p", "1 one"]),
        (["-p", "${absent}"], []),
        (["-p", "${nothing}"], []),
        (["-p", "${few}"], ["-p", "a", "b c"]),
        ([], []),
    ],
)
def test_a_group_is_dropped_whole(group: list[str], expected: list[str]) -> None:
    assert render_words(["x", group], VALUES) == ["x", *expected]


def test_names_are_found_in_structures_and_not_in_keys() -> None:
    structure = {"${key}": ["${one | default(two)}", {"a": "x${three}", "b": 4, "c": None}], "d": "$${four}"}

    assert names_in(structure) == {"one", "two", "three"}


def test_a_structure_keeps_types_and_leaves_out_what_is_null() -> None:
    structure = {
        "a": "${number}",
        "b": "x${number}",
        "c": ["${few}", "${absent}", "z", None, ["${few}"]],
        "d": {"e": "${absent}", "f": None, "g": "${labels}"},
        "h": 1.5,
        "i": "${yes}",
        "${one}": "key",
        "j": "${absent}!",
    }

    assert render_structure(structure, VALUES) == {
        "a": 4,
        "b": "x4",
        "c": ["a", "b c", "z", None, ["a", "b c"]],
        "d": {"f": None, "g": {"team": "x", "cost": "y=1"}},
        "h": 1.5,
        "i": True,
        "${one}": "key",
    }


def test_a_list_inside_text_of_a_structure_is_refused() -> None:
    with pytest.raises(VariableError) as caught:
        render_structure({"a": "x${few}"}, VALUES)

    assert str(caught.value) == "${few} is a list inside text: write ${few | join(',')}."


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, ""),
        ("", ""),
        ("a ${one}\n${absent}|\n", "a 1 one\n|\n"),
        ("${absent}", ""),
        ("${one}", "1 one"),
        ("${labels}", '{"team": "x", "cost": "y=1"}'),
        ("${few}", '["a", "b c"]'),
        ("${number}", "4"),
        ({"a": "${tricky}"}, json.dumps({"a": VALUES["tricky"]})),
        ([], "[]"),
    ],
)
def test_a_document_is_text_or_json(document: object, expected: str) -> None:
    assert render_document(document, VALUES) == expected
