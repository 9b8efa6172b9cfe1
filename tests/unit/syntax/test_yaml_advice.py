"""What is said of text that is not YAML, or not the YAML that was meant."""

from __future__ import annotations

import pytest

from generic_worker.errors import RecipeError
from generic_worker.syntax.yaml_text import read_text

ESCAPE = "A backslash in double quotes begins an escape"


INDENTATION = "This does not fit the lines above. Check the indentation and the space after ':'."


def refused(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read_text(text, "my.yaml")
    return str(caught.value).replace("my.yaml:", "")


@pytest.mark.parametrize(
    ("entry", "quoted"),
    [
        ("${job_id}", "'${job_id}'"),
        ("--job=${job_id}", "'--job=${job_id}'"),
        ("${a}:${b}", "'${a}:${b}'"),
        ("$${a}", "'$${a}'"),
        ("of ${a} to", "'of ${a} to'"),
        ("${job_ids | join(',')}", "\"${job_ids | join(',')}\""),
        ("${a['b: c']}", "\"${a['b: c']}\""),
        ("""${a["b"] ~ 'c'}""", """'${a["b"] ~ ''c''}'"""),
        ("${ {'a': 1} }", "\"${ {'a': 1} }\""),
    ],
)
@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("a: [", "]", "1:5"),
        ("a: ['it''s ${x}', \"${y}\", ", ", b]", "1:27"),
        ("a: {b: ", "}", "1:8"),
        ("a:\n  - [b, # it's ${x}\n     ", ", '${c}']\nd: 1", "3:6"),
    ],
)
def test_an_expression_in_flow_style_must_be_quoted(
    entry: str, quoted: str, before: str, after: str, place: str
) -> None:
    message = f"{place}: In a flow list or mapping an expression must be quoted: write {quoted}."
    assert refused(f"{before}{entry}{after}") == message


def test_an_expression_in_block_style_needs_no_quotes() -> None:
    data = read_text("a: ${b | join(',')}\nc:\n  - ${d}\n  - --e=${f}\n", "my.yaml").data

    assert data == {"a": "${b | join(',')}", "c": ["${d}", "--e=${f}"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            r'a: "^\d+ \"x\""',
            rf"""1:7: {ESCAPE}, and '\d' is none: write '^\d+ "x"'.""",
        ),
        (
            r'a: ["\d", b]',
            rf"1:7: {ESCAPE}, and '\d' is none: write '\d'.",
        ),
        (
            r'a: "C:\xyz"',
            rf"1:9: {ESCAPE}, and '\xy' is none: write 'C:\xyz'.",
        ),
        (
            'a: "\\d\n  b"',
            rf"1:6: {ESCAPE}, and '\d' is none: write it in single quotes.",
        ),
        ("a: %i|%k # c", "1:4: Text that begins with '%' must be quoted: write '%i|%k'."),
        ("a: [b, %i, c]", "1:8: Text that begins with '%' must be quoted: write '%i'."),
        ("a:\n  - @x y", "2:5: Text that begins with '@' must be quoted: write '@x y'."),
        ("a: `b`", "1:4: Text that begins with '`' must be quoted: write '`b`'."),
        ("a: *", "1:4: Text that begins with '*' must be quoted: write '*'."),
        ("a: [*.py, b]", "1:5: Text that begins with '*' must be quoted: write '*.py'."),
        ("a: &", "1:4: Text that begins with '&' must be quoted: write '&'."),
        ("a: !<b", "1:4: Text that begins with '!' must be quoted: write '!<b'."),
        ("a: !e!x y", "1:4: Text that begins with '!' must be quoted: write '!e!x y'."),
        ("a: | grep 'b c'", "1:4: Text that begins with '|' must be quoted: write \"| grep 'b c'\"."),
        ("a: > /dev/null", "1:4: Text that begins with '>' must be quoted: write '> /dev/null'."),
        ("a: ? b", "1:4: Text that begins with '?' must be quoted: write '? b'."),
        (f"a: %{'x' * 80}", "1:4: Text that begins with '%' must be quoted: write it in single quotes."),
        ("regex: ^a: b", "1:10: Text that holds ': ' must be quoted: write '^a: b'."),
        ("- run: ssh b: c", "1:13: Text that holds ': ' must be quoted: write 'ssh b: c'."),
        ("a: ${b | join(': ')}", "1:16: Text that holds ': ' must be quoted: write \"${b | join(': ')}\"."),
        (
            "a: [a-z]+",
            "1:9: Text goes on after a closing quote or bracket. Quote all of it: write '[a-z]+'.",
        ),
        (
            "a: 'b' c",
            "1:8: Text goes on after a closing quote or bracket. Quote all of it: write \"'b' c\".",
        ),
        (
            "a: 'the job's'",
            '1:13: Text goes on after a closing quote or bracket. Quote all of it: write "the job\'s".',
        ),
        (
            "a: - b",
            "1:4: A list begins on a line of its own. If this is text, it must be quoted: write '- b'.",
        ),
        (
            "a: [${b",
            "1:5: In a flow list or mapping an expression must be quoted: write it in single quotes.",
        ),
        ("a: ]", "1:4: A value is missing here. If it is text that begins with ']', quote it."),
        ("a: [b,, c]", "1:7: A value is missing here. If it is text that begins with ',', quote it."),
        (
            "a: [--format={{.ID}}]",
            "1:14: Text that holds '{' must be quoted in a flow list or mapping: write '--format={{.ID}}'.",
        ),
        (
            "a: [b [0-9], c]",
            "1:7: Text that holds '[' must be quoted in a flow list or mapping: write 'b [0-9]'.",
        ),
        (
            "a: ['b' c]",
            "1:9: Expected ',' or ']'. A comma, bracket or quote is missing, here or since line 1.",
        ),
        (
            "a: {b: c\nd: e",
            "2:2: Expected ',' or '}'. A comma, bracket or quote is missing, here or since line 1.",
        ),
        ("a: [b\n", "1:4: This bracket is never closed."),
        ("a: {b: 'c}\nd: e", "1:8: This quote is never closed."),
        ('a: "b\\', "1:4: This quote is never closed."),
        ("a:\n\tb: c", "2:1: A tab cannot indent. Use spaces."),
        ("a: b\n c: d", f"2:3: {INDENTATION}"),
        ("a:\n  b: c\n d: e", f"3:2: {INDENTATION}"),
        ("a: b\n- c", f"2:1: {INDENTATION}"),
        ("a: b\n  c:\n", f"2:4: {INDENTATION}"),
        ("a: b\nc\n", "2:1: Expected 'key: value'. The ':' is missing."),
        ("a: b\n...\nc: d", "3:1: Nothing can follow the end of the document."),
        (
            "%YAML 2.0\n---\na: b",
            "1:1: This is not YAML: found incompatible YAML document (version 1.* is required).",
        ),
        ('a: "\\U00110000"', "1:7: The number in this escape or directive is out of range."),
        ("a: 1\nb: \x07", "2:4: The character U+0007 cannot stand in YAML."),
        ("a: \0", "1:4: The character U+0000 cannot stand in YAML."),
        ("a: \ud800", "1:4: The character U+D800 cannot stand in YAML."),
    ],
)
def test_a_syntax_error_says_what_to_write_instead(text: str, expected: str) -> None:
    assert refused(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a: %" + " " * 100_000 + "x",
        "a: [${" + "{" * 100_000,
        "a: [b ${" + "'c" * 50_000,
        "a: '" + "b'" * 60_000,
    ],
    ids=["spaces", "braces", "quotes", "apostrophes"],
)
def test_a_monstrous_line_gets_its_advice_without_going_through_it_again_and_again(text: str) -> None:
    assert refused(text).endswith("write it in single quotes.")
