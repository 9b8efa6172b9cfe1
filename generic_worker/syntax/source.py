"""Plain data and the position of every key in the text that it was read from; and the problems at these places."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generic_worker.errors import Problem, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Path = tuple[str | int, ...]
Position = tuple[int, int]

MAX_LENGTH = 128 * 1024
"""Characters that a text may have, and that its aliases may repeat."""
MAX_DEPTH = 64
"""Mappings and lists that may stand in each other."""

TOO_DEEP = f"This is nested more than {MAX_DEPTH} levels deep."
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
    positions: Mapping[Path, Position]

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at this path or, when nothing stands there, at what surrounds it."""
        known = (path[:length] for length in range(len(path), -1, -1) if path[:length] in self.positions)
        return problem_at(self.name, self.positions.get(next(known, ()), (0, 0)), path, message)


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


def place_of(text: str, index: int) -> Position:
    """The line and column, from 1, of a character of a text."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def problem_at(name: str, position: Position, path: Path, message: str) -> Problem:
    """A problem at a position of the text of this name, and at a path of its data."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{_printable(part)}" for part in path)
    return Problem(name, *position, key.removeprefix("."), message)


def _printable(key: str) -> str:
    return key if key.isprintable() else repr(key)


def forbidden(text: str) -> str | None:
    """What is wrong with the characters of a text, if anything is: NUL and lone surrogates."""
    if found := _FORBIDDEN_RE.search(text):
        return f"Text cannot hold the character U+{ord(found[0]):04X}."
    return None


def _copy(value: Any, path: Path, name: str, problems: list[Problem]) -> Any:  # noqa: ANN401
    message = _not_json(value)
    if isinstance(value, (dict, list)) and len(path) >= MAX_DEPTH:
        problems.append(problem_at(name, (0, 0), path[:1], TOO_DEEP))
        raise RecipeError(problems)  # at once: what holds itself has no end
    if message:
        problems.append(problem_at(name, (0, 0), path, message))
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
        return forbidden(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value!r} is not a number of JSON."
    if value is None or isinstance(value, (list, bool, int, float)):
        return None
    return f"Expected text, a number, true, false, null, a list or a mapping, found a {type(value).__name__}."
