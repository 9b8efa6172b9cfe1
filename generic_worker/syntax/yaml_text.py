"""YAML text in, plain data and the position of every key out; refuses what we do not allow.

An unquoted scalar is null (`null`, `~`, nothing), `true`, `false` or a decimal number, and a number only if
writing it down again gives the same text: `60` and `0.5`, but not `0777`, `1_000`, `1e3`, `.5` or `3.10`, nor
an integer of more than 18 digits, which readers of JSON round. Everything else is the text that was written,
and so is every key. Refused are tags, merge keys, duplicate keys, NUL, and what is too long or too deep, even
if only by its aliases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from yaml.reader import ReaderError

from generic_worker.errors import Problem, RecipeError
from generic_worker.syntax.source import (
    MAX_DEPTH,
    MAX_LENGTH,
    TOO_DEEP,
    Position,
    Source,
    forbidden,
    place_of,
    problem_at,
)
from generic_worker.syntax.yaml_advice import explain

if TYPE_CHECKING:
    from generic_worker.syntax.source import Path

_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER_RE = re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII)
_FLOAT_RE = re.compile(r"-?\d+\.\d+", re.ASCII)


def read_text(text: str, name: str) -> Source:
    """Read a recipe's text.

    Raises:
        RecipeError: With every problem that was found; a syntax error ends the reading.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_LENGTH:
        message = f"The text has {len(text)} characters. A recipe may have {MAX_LENGTH}."
        raise RecipeError([problem_at(name, (1, 1), (), message)])
    try:
        reader = _Reader(text, name)
    except ReaderError as error:
        message = f"The character U+{error.character:04X} cannot stand in YAML."
        raise RecipeError([problem_at(name, place_of(text, error.position), (), message)]) from error
    root = reader.read()
    if reader.problems:
        raise RecipeError(reader.problems)
    positions: dict[Path, Position] = {(): root.position}
    return Source(name, _unfold(root, (), positions), positions)


@dataclass
class _Node:
    """What stands at one place; an alias is a node that shares its value, which only `_unfold` repeats."""

    position: Position
    value: Any = None  # a scalar, a list of nodes, or by key the key's position and a node
    size: int = 1
    height: int = 0


_Entries = dict[str, tuple[Position, _Node]]


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
            index, message = explain(error, self._text, in_flow=self._loader.flow_level > 0)
            self.problems.append(problem_at(self._name, place_of(self._text, index), (), message))
        except (
            OverflowError,
            ValueError,
        ):  # PyYAML converts the digits of "\UFFFFFFFF" and %YAML 1.1 unchecked
            mark = self._loader.get_mark()
            message = "The number in this escape or directive is out of range."
            self.problems.append(problem_at(self._name, place_of(self._text, mark.index), (), message))
        return root

    def _refuse(self, event: Any, message: str, path: Path = ()) -> None:  # noqa: ANN401
        self.problems.append(problem_at(self._name, _position(event), path, message))

    def _next(self) -> Any:  # noqa: ANN401  # events are untyped
        return self._loader.get_event()  # type: ignore[no-untyped-call]

    def _document(self) -> _Node:
        self._next()  # the stream's start
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            self.problems.append(problem_at(self._name, (1, 1), (), "The recipe is empty."))
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
            self._refuse(event, TOO_DEEP, path[:1])
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
            if message := forbidden(event.value):
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


def _position(event: Any) -> Position:  # noqa: ANN401
    return event.start_mark.line + 1, event.start_mark.column + 1


def _plain(text: str) -> str | int | float | bool | None:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER_RE.fullmatch(text):
        return int(text)
    if _FLOAT_RE.fullmatch(text) and repr(float(text)) == text:
        return float(text)
    return text


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


def _unfold(node: _Node, path: Path, positions: dict[Path, Position]) -> Any:  # noqa: ANN401
    if isinstance(node.value, list):
        positions.update(((*path, index), item.position) for index, item in enumerate(node.value))
        return [_unfold(item, (*path, index), positions) for index, item in enumerate(node.value)]
    if isinstance(node.value, dict):
        positions.update(((*path, key), position) for key, (position, _) in node.value.items())
        return {key: _unfold(value, (*path, key), positions) for key, (_, value) in node.value.items()}
    return node.value
