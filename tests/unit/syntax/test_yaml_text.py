from __future__ import annotations

import pytest

from generic_worker.errors import RecipeError
from generic_worker.syntax.source import MAX_DEPTH, MAX_LENGTH
from generic_worker.syntax.yaml_text import read_text

TOO_DEEP = f"This is nested more than {MAX_DEPTH} levels deep."
NOT_A_KEY = "A key is plain text. If this is text that begins with '{', '[' or '*', quote all of it."
EXPRESSION_KEY = "A key cannot hold an expression. If this is text that holds ': ', quote all of it."


def refused(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read_text(text, "my.yaml")
    return str(caught.value).replace("my.yaml:", "")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("60", 60),
        ("-5", -5),
        ("999999999999999999", 999999999999999999),
        ("0.5", 0.5),
        ("-1.25", -1.25),
        ("1.0", 1.0),
    ],
)
def test_null_booleans_and_decimal_numbers_get_types(written: str, value: object) -> None:
    data = read_text(f"key: {written}\nlist: [{written or '~'}]", "my.yaml").data

    assert data == {"key": value, "list": [value]}
    assert type(data["key"]) is type(value)


@pytest.mark.parametrize(
    "written",
    [
        *("1:30:00", "no", "yes", "on", "off", "y", "True", "FALSE", "Null", "2024-01-01", "=", "+1", "-0"),
        *(
            "0777",
            "007",
            "0o17",
            "0x1F",
            "0b1",
            "1_000",
            "1e3",
            "1.5e3",
            ".5",
            "5.",
            "3.10",
            "00.5",
            ".inf",
            ".nan",
        ),
        *(
            "1000000000000000000",
            "123456789012345680.0",
            "٣",
            "${job_id}",
            "--time=${time}",
            "a b",
        ),
    ],
)
def test_all_other_unquoted_text_stays_as_it_was_written(written: str) -> None:
    assert read_text(f"key: {written}", "my.yaml").data == {"key": written}


@pytest.mark.parametrize("quoted", ["'12'", '"12"', "|-\n  12", ">-\n  12"])
def test_quoted_text_is_never_a_number(quoted: str) -> None:
    assert read_text(f"key: {quoted}", "my.yaml").data == {"key": "12"}


def test_keys_are_always_text() -> None:
    data = read_text("0: a\nno: b\n1.5: c\nnull: d\n~: e\n'<<': f\n2024-01-01: g\n'${x}': h", "my.yaml").data

    assert "".join(data.values()) == "abcdefgh"
    assert list(data) == ["0", "no", "1.5", "null", "~", "<<", "2024-01-01", "${x}"]


def test_a_position_is_that_of_the_key_or_of_the_item() -> None:
    source = read_text("# head\nsubmit:\n  run: [sbatch,  '${x}']\n  env:\n    - a: 1\n", "my.yaml")

    assert source.positions == {
        (): (2, 1),
        ("submit",): (2, 1),
        ("submit", "run"): (3, 3),
        ("submit", "run", 0): (3, 9),
        ("submit", "run", 1): (3, 18),
        ("submit", "env"): (4, 3),
        ("submit", "env", 0): (5, 7),
        ("submit", "env", 0, "a"): (5, 7),
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((), "my.yaml:1:1: Wrong."),
        (("submit", "run", 1), "my.yaml:2:12: submit.run[1]: Wrong."),
        (("submit", "output", "regex"), "my.yaml:1:1: submit.output.regex: Wrong."),
        (("cancel",), "my.yaml:1:1: cancel: Wrong."),
        (("a\nb",), "my.yaml:1:1: 'a\\nb': Wrong."),
    ],
)
def test_a_problem_stands_at_the_nearest_known_place(path: tuple[str | int, ...], expected: str) -> None:
    source = read_text("submit:\n  run: [a, b]\n", "my.yaml")

    assert str(source.problem(path, "Wrong.")) == expected


def test_windows_line_ends_and_a_byte_order_mark_do_not_matter() -> None:
    source = read_text("\ufeffa: 1\r\nb: 2\r\n", "my.yaml")

    assert source.data == {"a": 1, "b": 2}
    assert source.positions == {(): (1, 1), ("a",): (1, 1), ("b",): (2, 1)}


def test_an_alias_repeats_data_that_is_not_shared() -> None:
    source = read_text("a: &x [1, {b: 2}]\nc:\n  - *x\n  - *x\n", "my.yaml")

    assert source.data == {"a": [1, {"b": 2}], "c": [[1, {"b": 2}], [1, {"b": 2}]]}
    assert source.data["c"][0] is not source.data["c"][1]
    assert source.positions[("c", 1)] == (4, 5)
    assert source.positions[("c", 1, 1, "b")] == (1, 12)


def test_an_anchor_may_be_given_again() -> None:
    assert read_text("a: &x 1\nb: *x\nc: &x 2\nd: *x", "my.yaml").data == {"a": 1, "b": 1, "c": 2, "d": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", "3:1: a: The key 'a' is in line 1 and again in line 3. Keep one."),
        ("s: {1: a, '1': b}", "1:11: s.1: The key '1' is in line 1 and again in line 1. Keep one."),
        ("a: !x b", "1:4: a: The tag '!x' is not allowed. If it is text, quote it."),
        ("a: ! b", "1:4: a: The tag '!' is not allowed. If it is text, quote it."),
        ("a: [!!str 1]", "1:5: a[0]: The tag '!!str' is not allowed. If it is text, quote it."),
        (
            "a: !!python/object/apply:os.system [id]",
            "1:4: a: The tag '!!python/object/apply:os.system' is not allowed. If it is text, quote it.",
        ),
        (
            "a: &x {b: 1}\nc:\n  <<: *x",
            "3:3: c.<<: Merge keys are not allowed. To build on another recipe, use 'extends'.",
        ),
        ("a: {{json .State}}", f"1:5: a: {NOT_A_KEY}"),
        ("? [a]\n: b", f"1:3: {NOT_A_KEY}"),
        ("a: &x b\n*x : c", f"2:1: {NOT_A_KEY}"),
        (
            "run:\n  - ${x}: y",
            f"2:5: run[0].${{x}}: {EXPRESSION_KEY}",
        ),
        ("a: *x", "1:4: a: The alias '*x' has no anchor '&x' before it. If it is text, quote it."),
        ("a: &x y", "1:4: a: Nothing repeats the anchor '&x'. If it is text, quote it."),
        ("a: &x 1\nb: &x 2\nc: *x", "1:4: a: Nothing repeats the anchor '&x'. If it is text, quote it."),
        ("a: &x [*x]", "1:8: a[0]: The alias '*x' stands in what it repeats."),
        ('a: "x\\0"', "1:4: a: Text cannot hold the character U+0000."),
        ('a: "\\ud83d"', "1:4: a: Text cannot hold the character U+D83D."),
        ('"\\0": a', "1:1: '\\x00': Text cannot hold the character U+0000."),
        ("", "1:1: The recipe is empty."),
        ("# only this\n", "1:1: The recipe is empty."),
        ("- a", "1:1: A recipe is a mapping: lines of 'key: value'."),
        ("---\n", "2:1: A recipe is a mapping: lines of 'key: value'."),
        ("a: 1\n---\nb: 2", "2:1: A second document begins here. A recipe is one document."),
    ],
)
def test_what_is_not_allowed_is_refused(text: str, expected: str) -> None:
    assert refused(text) == expected


def test_problems_before_a_syntax_error_are_kept() -> None:
    assert refused("a: 1\na: !x 2\nb: &y 3\nc: [${d}]\n").splitlines() == [
        "2:1: a: The key 'a' is in line 1 and again in line 2. Keep one.",
        "2:4: a: The tag '!x' is not allowed. If it is text, quote it.",
        "4:5: In a flow list or mapping an expression must be quoted: write '${d}'.",
    ]


def test_aliases_cannot_make_a_short_text_long() -> None:
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60)]
    text = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *lines, "z: *a59"])

    assert refused(text) == f"5:50: a4[8]: The aliases up to here repeat more than {MAX_LENGTH} characters."


def test_aliases_repeat_as_much_as_a_text_may_hold() -> None:
    text = "a: &a " + "x" * (MAX_LENGTH // 4 - 1) + "\nb: [*a, *a, *a, *a{}]"

    assert len("".join(read_text(text.format(""), "my.yaml").data["b"])) == MAX_LENGTH - 4
    assert refused(text.format(", *a")) == (
        f"2:21: b[4]: The aliases up to here repeat more than {MAX_LENGTH} characters."
    )


def test_aliases_cannot_make_a_shallow_text_deep() -> None:
    lines = [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, MAX_DEPTH)]
    text = "\n".join(["a0: &a0 x", *lines, f"z: *a{MAX_DEPTH - 1}"])

    assert read_text(text, "my.yaml").data["z"] != []
    assert refused(text.replace("z: *a63", "z: [*a63]")) == (
        f"65:5: z[0]: The alias '*a63' makes this more than {MAX_DEPTH} levels deep."
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: " + "[" * 50_000, f"1:67: a: {TOO_DEEP}"),
        ("{" * 50_000, f"1:65: ?: {TOO_DEEP}"),
        ("- " * 50_000, f"1:129: [0]: {TOO_DEEP}"),
        (
            "a: !x 1\nb: " + "[" * 64,
            f"1:4: a: The tag '!x' is not allowed. If it is text, quote it.\n2:67: b: {TOO_DEEP}",
        ),
    ],
    ids=["lists", "mappings as keys", "block lists", "with another problem"],
)
def test_a_deep_text_is_refused(text: str, expected: str) -> None:
    assert refused(text) == expected


def test_the_greatest_depth_can_be_used() -> None:
    levels = MAX_DEPTH - 1

    assert refused("a: " + "[" * (levels + 1) + "]" * (levels + 1)) == f"1:{levels + 4}: a: {TOO_DEEP}"
    assert len(read_text("a: " + "[" * levels + "]" * levels, "my.yaml").positions) == MAX_DEPTH


def test_a_long_text_is_refused_unread() -> None:
    message = f"The text has {MAX_LENGTH + 1} characters. A recipe may have {MAX_LENGTH}."

    assert refused("\0" * (MAX_LENGTH + 1)) == f"1:1: {message}"
