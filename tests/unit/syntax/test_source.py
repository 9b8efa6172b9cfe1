from __future__ import annotations

import pytest

from generic_worker.errors import Problem, RecipeError
from generic_worker.syntax.source import MAX_DEPTH, Source, closest, from_mapping

TOO_DEEP = f"This is nested more than {MAX_DEPTH} levels deep."


def test_a_mapping_is_copied_and_has_no_positions() -> None:
    data = {"a": [1, 0.5, True, None, {"b": "c"}]}
    source = from_mapping(data, "<base job template>")
    data["a"].clear()

    assert source == Source("<base job template>", {"a": [1, 0.5, True, None, {"b": "c"}]}, {})
    assert source.problem(("a", 4), "Wrong.") == Problem("<base job template>", 0, 0, "a[4]", "Wrong.")


def test_every_part_of_a_mapping_that_is_not_json_is_named() -> None:
    with pytest.raises(RecipeError) as caught:
        from_mapping(
            {"a": (1, 2), "b": [{1: "c"}, float("nan")], "d": {"e": b"f", "g": "\0"}, "h": {"\ud800": 1}},
            "template",
        )

    allowed = "Expected text, a number, true, false, null, a list or a mapping"
    assert str(caught.value).splitlines() == [
        f"template: a: {allowed}, found a tuple.",
        "template: b[0]: The key 1 is not text.",
        "template: b[1]: nan is not a number of JSON.",
        f"template: d.e: {allowed}, found a bytes.",
        "template: d.g: Text cannot hold the character U+0000.",
        "template: h: The key '\\ud800' is not text.",
    ]


def test_a_mapping_that_holds_itself_is_refused() -> None:
    data: dict[str, object] = {}
    data["a"] = [data, data]
    with pytest.raises(RecipeError) as caught:
        from_mapping(data, "template")

    assert str(caught.value) == f"template: a: {TOO_DEEP}"


@pytest.mark.parametrize(
    ("word", "expected"),
    [("patern", "pattern"), ("sumbit", "submit"), ("submit", "submit"), ("qqq", None)],
)
def test_the_closest_word_is_suggested(word: str, expected: str | None) -> None:
    assert closest(word, {"pattern": 1, "submit": 2}) == expected


def test_nothing_is_close_when_nothing_is_known() -> None:
    assert closest("a", ()) is None
