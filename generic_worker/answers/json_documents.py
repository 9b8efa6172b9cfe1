"""Reads JSON in steps: a large document in one call would hold up all threads, and with them the event loop.

Lists and mappings that are large are read here, and what is in them by the library, each part in a call of its own.
Of the members of one list, only what is wanted of each is kept: the garbage collector looks at all that there is.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generic_worker.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sized

MOST = 100_000
"""Records of one answer: they take some 50 MB of memory, and to forget more at once takes a tenth of a second."""

_CONTAINERS = 5 * MOST
"""Lists and mappings in one answer: the garbage collector looks at them all at once."""
_LEVELS = 20
"""Levels on which something large may be: `{"items": [{...}]}` has the records on the third."""
_SMALL = 100_000
"""Characters of a text that may be read in one call: it takes about two milliseconds."""
_RECORD = 4_000
"""Characters in which most records end: copying more for each would take longer than reading it."""
_SPACE_RE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


def refuse_too_many(records: Sized) -> None:
    """Refuse an answer that has more records than anything would read.

    Raises:
        OutputError: It has.
    """
    if len(records) > MOST:
        raise OutputError(f"it has more than {MOST} records. Let the command list less.")


@dataclass(frozen=True, slots=True)
class Members:
    """The members of a list in a document, in place of which something smaller is kept.

    Attributes:
        names: The names that lead to the list from the outermost mapping; none where the document is the list.
        kept: What is kept of a member.
    """

    names: tuple[str, ...]
    kept: Callable[[Any], Any]

    def below(self, name: str) -> Members | None:
        """The same seen from a value of the mapping that is here; None if they are not in it."""
        return Members(self.names[1:], self.kept) if self.names[:1] == (name,) else None


def documents(text: str, members: Members | None = None) -> Iterator[Any]:
    """Every JSON document in a text: one as a rule, or one per line.

    Args:
        text: The text.
        members: In place of which something smaller is kept, where their list is too large to be read in one call.

    Raises:
        OutputError: It has more lists and mappings than an answer may have, or one of them more members than an answer
            may have records.
        ValueError: What comes next is no JSON.
        RecursionError: It is nested too deeply.
    """
    if len(text) > _SMALL and text.count("[") + text.count("{") > _CONTAINERS:
        raise OutputError(f"it has more than {_CONTAINERS} lists and mappings. Let the command list less.")
    position, end = 0, len(text)
    while position < end:
        while position < end and text[position].isspace():
            position += 1
        if position < end:
            document, position = _value(text, position, _LEVELS, members)
            yield document


def _value(text: str, position: int, levels: int, members: Members | None = None) -> tuple[Any, int]:
    """The value at a position, and where it ends."""
    kind = text[position : position + 1]
    if len(text) - position <= _SMALL or kind not in {"[", "{"}:  # however long a string or a number is, it is no work
        return _decode(text, position)
    for size in (_RECORD, _SMALL):
        with suppress(ValueError):  # it goes on behind that
            value, end = _decode(text[position : position + size])
            return value, position + end
    if not levels:
        raise RecursionError("too deep for its size")
    read = _list if kind == "[" else _mapping
    return read(text, position + 1, levels - 1, members)


def _list(text: str, position: int, levels: int, members: Members | None) -> tuple[list[Any], int]:
    found: list[Any] = []
    position = _after_space(text, position)
    if text.startswith("]", position):
        return found, position + 1
    while True:
        value, position = _value(text, position, levels)
        found.append(value if members is None or members.names else members.kept(value))
        refuse_too_many(found)
        position, more = _separator(text, position, "]")
        if not more:
            return found, position


def _mapping(text: str, position: int, levels: int, members: Members | None) -> tuple[dict[str, Any], int]:
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
        inside = members.below(name) if members else None
        found[name], position = _value(text, _after_space(text, position + 1), levels, inside)
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
