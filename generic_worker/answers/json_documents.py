"""Reads JSON in steps: a large document in one call would hold up all threads, and with them the event loop.

The outer levels are read here, and what is in them by the library, each part in a call of its own.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from generic_worker.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

MOST = 100_000
"""Records of one answer: they take some 50 MB of memory, and to forget more at once takes a tenth of a second."""

_LEVELS = 3
"""Levels that are read here: `{"items": [{...}]}` has the records on the third."""
_SMALL = 100_000
"""Characters of a text that may be read in one call: it takes about two milliseconds."""
_SPACE_RE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


def refuse_too_many(records: Sized) -> None:
    """Refuse an answer that has more records than anything would read.

    Raises:
        OutputError: It has.
    """
    if len(records) > MOST:
        raise OutputError(f"it has more than {MOST} records. Let the command list less.")


def documents(text: str) -> Iterator[Any]:
    """Every JSON document in a text: one as a rule, or one per line.

    Raises:
        OutputError: A list or a mapping of the outer levels has more members than an answer may have records.
        ValueError: What comes next is no JSON.
        RecursionError: It is nested too deeply.
    """
    levels = _LEVELS if len(text) > _SMALL else 0
    position, end = 0, len(text)
    while position < end:
        while position < end and text[position].isspace():
            position += 1
        if position < end:
            document, position = _value(text, position, levels)
            yield document


def _value(text: str, position: int, levels: int) -> tuple[Any, int]:
    """The value at a position, and where it ends."""
    kind = text[position : position + 1]
    if levels and kind == "[":
        return _list(text, position + 1, levels - 1)
    if levels and kind == "{":
        return _mapping(text, position + 1, levels - 1)
    return _decode(text, position)


def _list(text: str, position: int, levels: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    position = _after_space(text, position)
    if text.startswith("]", position):
        return found, position + 1
    while True:
        value, position = _value(text, position, levels)
        found.append(value)
        refuse_too_many(found)
        position, more = _separator(text, position, "]")
        if not more:
            return found, position


def _mapping(text: str, position: int, levels: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    position = _after_space(text, position)
    if text.startswith("}", position):
        return found, position + 1
    while True:
        if not text.startswith('"', position):
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, position)
        name, position = _decode(text, position)
        position = _after_space(text, position)
        if not text.startswith(":", position):
            raise json.JSONDecodeError("Expecting ':' delimiter", text, position)
        found[name], position = _value(text, _after_space(text, position + 1), levels)
        refuse_too_many(found)
        position, more = _separator(text, position, "}")
        if not more:
            return found, position


def _separator(text: str, position: int, end: str) -> tuple[int, bool]:
    """The position of the next part, and whether there is one."""
    position = _after_space(text, position)
    if text.startswith(end, position):
        return position + 1, False
    if not text.startswith(",", position):
        raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
    return _after_space(text, position + 1), True


def _after_space(text: str, position: int) -> int:
    found = _SPACE_RE.match(text, position)
    return found.end() if found else position
