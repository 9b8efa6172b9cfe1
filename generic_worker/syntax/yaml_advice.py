"""What is wrong with the syntax of YAML text, in words that say what to write instead."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from generic_worker.syntax.source import place_of

if TYPE_CHECKING:
    import yaml

# What PyYAML's scanner and parser say, and what to say instead; `^`: at the place that they call the context.
# "value: " precedes their words when they stopped inside of the value that begins in that line.
_ADVICE = (
    (r"quoted scalar: .*(unexpected|\\x00)", "^This quote is never closed."),
    ("double-quoted", "A backslash in double quotes begins an escape, and '{escape}' is none: {write}."),
    (r"'\\t' that cannot start", "A tab cannot indent. Use spaces."),
    (
        "(an alias|an anchor|a block scalar|a tag|a node|a directive): |any token|mapping keys",
        "^Text that begins with {first!r} must be quoted: {write}.",
    ),
    ("value: .*mapping values", "Text that holds ': ' must be quoted: {write}."),
    (
        "value: .*<block end>.*<scalar>",
        "Text goes on after a closing quote or bracket. Quote all of it: {write}.",
    ),
    (
        "mapping values|<block end>",
        "This does not fit the lines above. Check the indentation and the space after ':'.",
    ),
    ("sequence entries", "A list begins on a line of its own. If this is text, it must be quoted: {write}."),
    ("node content", "A value is missing here. If it is text that begins with {first!r}, quote it."),
    ("flow .*<stream end>", "^This bracket is never closed."),
    (r"flow .*got '([{\[])'", "Text that holds '{0}' must be quoted in a flow list or mapping: {write}."),
    (
        "flow .*expected (.*), but",
        "Expected {0}. A comma, bracket or quote is missing, here or since line {line}.",
    ),
    ("expected ':'", "^Expected 'key: value'. The ':' is missing."),
    ("<document start>", "Nothing can follow the end of the document."),
    ("", "This is not YAML: {problem}."),
)
_LONGEST_EXAMPLE = 80
_BEFORE_VALUE_RE = re.compile(r"(?: *- +)* *(?:[^\s:]+(?: +[^\s:]+)*:(?:[ \t]+|$))?", re.MULTILINE)
_BEFORE_ENTRY_RE = re.compile(r"(?:.*(?:[\[{,]|:\s))?\s*")
_ENTRY_RE = re.compile(  # up to the next comma or bracket that is not in an expression or a character class
    r"""(?:\$?\{(?:[^{}'"\n]|'[^'\n]*'|"[^"\n]*"|\{[^{}\n]*\})*\}|\[[^\[\]\n]*\]|:(?!\s)|[^,\[\]{}\n\#:])*"""
)
_LEXEME_RE = re.compile(  # quoted text, a comment, or the beginning of an expression that is in neither
    r"""(?<![^\s,\[\]{}:])(?:'(?:[^']|'')*'?|"(?:[^"\\]|\\.)*"?)|(?<!\S)\#.*|(?P<expression>\$\{)"""
)
_DOUBLE_QUOTED_RE = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_APOSTROPHES_RE = re.compile(r"'((?:[^']|(?<=\w)'(?=\w))*)'")


def explain(error: yaml.MarkedYAMLError, text: str, *, in_flow: bool) -> tuple[int, str]:
    """Where a syntax error is, and a sentence with what to write instead."""
    marks = [mark.index for mark in (error.context_mark, error.problem_mark) if mark]
    start, stop = marks[0], marks[-1]
    in_flow = in_flow or "flow" in str(error.context)
    if in_flow and (bare := _bare_expression(text, start, stop)):
        return bare
    value = _end(_BEFORE_VALUE_RE, text, _line_start(text, stop))
    words = f"{'value' if stop > value else 'line'}: {error.context}: {error.problem}"
    matches = ((re.search(pattern, words), message) for pattern, message in _ADVICE)
    groups, message = next((match.groups(), message) for match, message in matches if match)
    place = start if message.startswith("^") else stop
    if "double-quoted" in words:
        quoted = _DOUBLE_QUOTED_RE.match(text, start)
        example = quoted[1].replace('\\"', '"') if quoted else ""
    elif in_flow:
        example = _entry(text, place)[1]
    else:
        example = re.split(r"\s#", text[min(value, place) :].partition("\n")[0])[0]
    return place, message.removeprefix("^").format(
        *groups,
        problem=error.problem,
        escape=text[text.rfind("\\", 0, stop + 1) : stop + 1],
        first=text[place : place + 1],
        line=place_of(text, start)[0],
        write=_write(example),
    )


def _bare_expression(text: str, start: int, stop: int) -> tuple[int, str] | None:
    """The first expression whose braces YAML took for its own."""
    for lexeme in _LEXEME_RE.finditer(text, _line_start(text, start), stop + 1):
        if lexeme["expression"]:
            place, entry = _entry(text, lexeme.start())
            write = _write(entry if "}" in entry else "")
            return place, f"In a flow list or mapping an expression must be quoted: {write}."
    return None


def _entry(text: str, index: int) -> tuple[int, str]:
    """Where the entry of a flow list or mapping that holds this index begins, and its text."""
    start = _end(_BEFORE_ENTRY_RE, text, _line_start(text, index), index)
    return start, text[start : _end(_ENTRY_RE, text, start)]


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _end(pattern: re.Pattern[str], text: str, start: int, stop: int = sys.maxsize) -> int:
    match = pattern.match(text, start, stop)
    return match.end() if match else start


def _write(example: str) -> str:
    example = example.strip()
    if apostrophes := _APOSTROPHES_RE.fullmatch(example):
        example = apostrophes[1]
    if not 0 < len(example) <= _LONGEST_EXAMPLE:
        return "write it in single quotes"
    if "'" in example and not re.search(r'["\\]', example):
        return f'write "{example}"'
    return "write '" + example.replace("'", "''") + "'"
