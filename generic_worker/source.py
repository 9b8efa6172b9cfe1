"""YAML text in, plain data and the position of every key out; refuses what we do not allow.

An unquoted scalar is null (`null`, `~`, nothing), `true`, `false` or a decimal number, and a number only if
writing it down again gives the same text: `60` and `0.5`, but not `0777`, `1_000`, `1e3`, `.5` or `3.10`, nor
an integer of more than 18 digits, which readers of JSON round. Everything else is the text that was written,
and so is every key. Refused are tags, merge keys, duplicate keys, NUL, and what is too long or too deep, even
if only by its aliases.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from yaml.reader import ReaderError

from generic_worker.errors import Problem, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Path = tuple[str | int, ...]
_Position = tuple[int, int]

MAX_LENGTH = 128 * 1024
"""Characters that a text may have, and that its aliases may repeat."""
MAX_DEPTH = 64
"""Mappings and lists that may stand in each other."""

_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER_RE = re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII)
_FLOAT_RE = re.compile(r"-?\d+\.\d+", re.ASCII)
_TOO_DEEP = f"This is nested more than {MAX_DEPTH} levels deep."
_FORBIDDEN_RE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Source:
    """Plain data and where each part of it stands.

    Attributes:
        name: The file's name for messages, or a name such as `<base job template>`.
        data: Mappings with text keys, lists, text, numbers, booleans and null.
        positions: Line and column, from 1, of each key, of each item of a list, and of the document, `()`.
    """

    name: str
    data: dict[str, Any]
    positions: Mapping[Path, _Position]

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at this path or, when nothing stands there, at what surrounds it."""
        known = (path[:length] for length in range(len(path), -1, -1) if path[:length] in self.positions)
        return _problem(self.name, self.positions.get(next(known, ()), (0, 0)), path, message)


def read_text(text: str, name: str) -> Source:
    """Read a recipe's text.

    Raises:
        RecipeError: With every problem that was found; a syntax error ends the reading.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_LENGTH:
        message = f"The text has {len(text)} characters. A recipe may have {MAX_LENGTH}."
        raise RecipeError([_problem(name, (1, 1), (), message)])
    try:
        reader = _Reader(text, name)
    except ReaderError as error:
        message = f"The character U+{error.character:04X} cannot stand in YAML."
        raise RecipeError([_problem(name, _place(text, error.position), (), message)]) from error
    root = reader.read()
    if reader.problems:
        raise RecipeError(reader.problems)
    positions: dict[Path, _Position] = {(): root.position}
    return Source(name, _unfold(root, (), positions), positions)


def from_mapping(data: Mapping[str, Any], name: str) -> Source:
    """Take plain JSON data, copied, which has no positions.

    Raises:
        RecipeError: With every part that is not JSON.
    """
    problems: list[Problem] = []
    copied = _copy(dict(data), (), name, problems)
    if problems:
        raise RecipeError(problems)
    return Source(name, copied, {})


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, for a "did you mean"."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def _problem(name: str, position: _Position, path: Path, message: str) -> Problem:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{_printable(part)}" for part in path)
    return Problem(name, *position, key.removeprefix("."), message)


@dataclass
class _Node:
    """What stands at one place; an alias is a node that shares its value, which only `_unfold` repeats."""

    position: _Position
    value: Any = None  # a scalar, a list of nodes, or by key the key's position and a node
    size: int = 1
    height: int = 0


_Entries = dict[str, tuple[_Position, _Node]]


class _Reader:
    """Makes nodes of YAML's events, one after the other: what is found before a syntax error is not lost."""

    def __init__(self, text: str, name: str) -> None:
        self.problems: list[Problem] = []
        self._name = name
        self._text = text
        self._loader = yaml.SafeLoader(text)
        self._anchors: dict[str, _Node | None] = {}  # None: the anchor's own node is still being read
        self._unused: dict[str, tuple[yaml.NodeEvent, Path]] = {}
        self._repeated = 0

    def read(self) -> _Node:
        """The only document's node, which is worth nothing when there are problems."""
        root = _Node((1, 1))
        try:
            root = self._document()
        except yaml.MarkedYAMLError as error:
            index, message = _explain(error, self._text, in_flow=self._loader.flow_level > 0)
            self.problems.append(_problem(self._name, _place(self._text, index), (), message))
        except (
            OverflowError,
            ValueError,
        ):  # PyYAML converts the digits of "\UFFFFFFFF" and %YAML 1.1 unchecked
            mark = self._loader.get_mark()
            message = "The number in this escape or directive is out of range."
            self.problems.append(_problem(self._name, _place(self._text, mark.index), (), message))
        return root

    def _refuse(self, event: Any, message: str, path: Path = ()) -> None:  # noqa: ANN401
        self.problems.append(_problem(self._name, _position(event), path, message))

    def _next(self) -> Any:  # noqa: ANN401  # events are untyped
        return self._loader.get_event()  # type: ignore[no-untyped-call]

    def _document(self) -> _Node:
        self._next()  # the stream's start
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            self.problems.append(_problem(self._name, (1, 1), (), "The recipe is empty."))
            return _Node((1, 1))
        first = self._next()
        root = self._node(first, ())
        if not isinstance(root.value, dict):
            self._refuse(first, "A recipe is a mapping: lines of 'key: value'.")
        for name in list(self._unused):
            self._refuse_unused(name)
        self._next()  # the document's end
        if not isinstance(after := self._next(), yaml.StreamEndEvent):
            self._refuse(after, "A second document begins here. A recipe is one document.")
        return root

    def _node(self, event: Any, path: Path) -> _Node:  # noqa: ANN401
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if len(path) >= MAX_DEPTH and not isinstance(event, yaml.ScalarEvent):
            self._refuse(event, _TOO_DEEP, path[:1])
            raise RecipeError(self.problems)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(event, f"The tag {tag!r} is not allowed. If it is text, quote it.", path)
        if event.anchor:
            self._refuse_unused(event.anchor)
            self._unused[event.anchor] = event, path
            self._anchors[event.anchor] = None
        node = self._collected(event, path)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _collected(self, event: Any, path: Path) -> _Node:  # noqa: ANN401
        node = _Node(_position(event))
        if isinstance(event, yaml.ScalarEvent):
            if message := _forbidden(event.value):
                self._refuse(event, message, path)
            node.value = _plain(event.value) if event.implicit[0] else event.value
            node.size += len(event.value)
            return node
        collect = self._entries if isinstance(event, yaml.MappingStartEvent) else self._items
        node.value, children = collect(path)
        node.size += sum(child.size for child in children)
        node.height = 1 + max((child.height for child in children), default=0)
        return node

    def _items(self, path: Path) -> tuple[list[_Node], list[_Node]]:
        items: list[_Node] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items, items

    def _entries(self, path: Path) -> tuple[_Entries, list[_Node]]:
        entries: _Entries = {}
        children: list[_Node] = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = event.value if isinstance(event, yaml.ScalarEvent) else "?"
            below = *path, key
            children += self._node(event, below), self._node(self._next(), below)
            if message := _wrong_key(event, entries) or self._cut_off(event, path):
                self._refuse(event, message, below if isinstance(event, yaml.ScalarEvent) else path)
            else:
                entries[key] = _position(event), children[-1]
        return entries, children

    def _cut_off(self, key: Any, path: Path) -> str | None:  # noqa: ANN401
        """A key without a value between braces, of several words: the rest of a text that a comma has ended."""
        after = self._text[key.end_mark.index :].lstrip()[:1]
        if "?" in path or " " not in key.value or not key.implicit[0] or after not in {",", "}"}:
            return None
        return f"Between braces a comma ends a text, and {key.value!r} is a key of its own. Quote the whole text."

    def _alias(self, event: Any, path: Path) -> _Node:  # noqa: ANN401
        position = _position(event)
        target = self._anchors.get(event.anchor)
        self._unused.pop(event.anchor, None)
        alias = f"The alias '*{event.anchor}'"
        before = self._repeated
        if event.anchor not in self._anchors:
            message = f"{alias} has no anchor '&{event.anchor}' before it. If it is text, quote it."
        elif target is None:
            message = f"{alias} stands in what it repeats."
        elif len(path) + target.height > MAX_DEPTH:
            message = f"{alias} makes this more than {MAX_DEPTH} levels deep."
        else:
            self._repeated += target.size
            if self._repeated <= MAX_LENGTH:
                return _Node(position, target.value, target.size, target.height)
            if before > MAX_LENGTH:  # one report is enough
                return _Node(position)
            message = f"The aliases up to here repeat more than {MAX_LENGTH} characters."
        self._refuse(event, message, path)
        return _Node(position)

    def _refuse_unused(self, anchor: str) -> None:
        if anchor in self._unused:
            message = f"Nothing repeats the anchor '&{anchor}'. If it is text, quote it."
            event, path = self._unused.pop(anchor)
            self._refuse(event, message, path)


def _position(event: Any) -> _Position:  # noqa: ANN401
    return event.start_mark.line + 1, event.start_mark.column + 1


def _printable(key: str) -> str:
    return key if key.isprintable() else repr(key)


def _place(text: str, index: int) -> _Position:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _plain(text: str) -> str | int | float | bool | None:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER_RE.fullmatch(text):
        return int(text)
    if _FLOAT_RE.fullmatch(text) and repr(float(text)) == text:
        return float(text)
    return text


def _forbidden(text: str) -> str | None:
    if found := _FORBIDDEN_RE.search(text):
        return f"Text cannot hold the character U+{ord(found[0]):04X}."
    return None


def _wrong_key(event: Any, entries: _Entries) -> str | None:  # noqa: ANN401
    if not isinstance(event, yaml.ScalarEvent):
        return "A key is plain text. If this is text that begins with '{', '[' or '*', quote all of it."
    key = event.value
    if key in entries:
        first, second = entries[key][0][0], _position(event)[0]
        return f"The key {key!r} is in line {first} and again in line {second}. Keep one."
    if key == "<<" and event.implicit[0]:
        return "Merge keys are not allowed. To build on another recipe, use 'extends'."
    if "${" in key and event.implicit[0]:
        return "A key cannot hold an expression. If this is text that holds ': ', quote all of it."
    return None


def _unfold(node: _Node, path: Path, positions: dict[Path, _Position]) -> Any:  # noqa: ANN401
    if isinstance(node.value, list):
        positions.update(((*path, index), item.position) for index, item in enumerate(node.value))
        return [_unfold(item, (*path, index), positions) for index, item in enumerate(node.value)]
    if isinstance(node.value, dict):
        positions.update(((*path, key), position) for key, (position, _) in node.value.items())
        return {key: _unfold(value, (*path, key), positions) for key, (_, value) in node.value.items()}
    return node.value


def _copy(value: Any, path: Path, name: str, problems: list[Problem]) -> Any:  # noqa: ANN401
    message = _not_json(value)
    if isinstance(value, (dict, list)) and len(path) >= MAX_DEPTH:
        problems.append(_problem(name, (0, 0), path[:1], _TOO_DEEP))
        raise RecipeError(problems)  # at once: what holds itself has no end
    if message:
        problems.append(_problem(name, (0, 0), path, message))
    elif isinstance(value, dict):
        return {key: _copy(item, (*path, key), name, problems) for key, item in value.items()}
    elif isinstance(value, list):
        return [_copy(item, (*path, index), name, problems) for index, item in enumerate(value)]
    return value


def _not_json(value: Any) -> str | None:  # noqa: ANN401
    if isinstance(value, dict):
        wrong = [key for key in value if not isinstance(key, str) or _FORBIDDEN_RE.search(key)]
        return f"The key {wrong[0]!r} is not text." if wrong else None
    if isinstance(value, str):
        return _forbidden(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value!r} is not a number of JSON."
    if value is None or isinstance(value, (list, bool, int, float)):
        return None
    return f"Expected text, a number, true, false, null, a list or a mapping, found a {type(value).__name__}."


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


def _explain(error: yaml.MarkedYAMLError, text: str, *, in_flow: bool) -> tuple[int, str]:
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
        line=_place(text, start)[0],
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


def _end(pattern: re.Pattern[str], text: str, start: int, stop: int = MAX_LENGTH) -> int:
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
