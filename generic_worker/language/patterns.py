"""Patterns of a recipe, matched within a time limit.

Some patterns take years for a text of thirty characters, and what a command prints may be anybody's text. They are
matched with `regex`, which has a time limit and lets other threads run meanwhile; `re` has neither.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import regex

from generic_worker.errors import GenericWorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

Match: TypeAlias = "regex.Match[str]"

_SECONDS = 5.0
"""Seconds of processor time that all matching for one answer may take; a healthy pattern reads megabytes in them."""
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class SlowPatternError(GenericWorkerError):
    """A pattern has taken too long for a text: nothing can be said of it.

    Attributes:
        pattern: The pattern.
    """

    def __init__(self, pattern: str) -> None:
        super().__init__(
            f"the pattern {pattern!r} takes too long for what was printed. Write it without repetitions in repetitions."
        )
        self.pattern = pattern


@contextmanager
def time_limit(seconds: float = _SECONDS) -> Iterator[None]:
    """All matching in this context takes at most so many seconds of processor time, together.

    A limit around it holds as well.
    """
    outer, mine = _deadline.get(), time.process_time() + seconds
    token = _deadline.set(mine if outer is None else min(outer, mine))
    try:
        yield
    finally:
        _deadline.reset(token)


def search(pattern: str, text: str, *, by_line: bool = True) -> Match | None:
    """The first match of a pattern in a text.

    Args:
        pattern: The pattern.
        text: The text.
        by_line: Whether `^` and `$` are the ends of every line.

    Raises:
        SlowPatternError: It takes too long.
    """
    found: Match | None = _limited(pattern, "search", text, regex.MULTILINE if by_line else 0)
    return found


def fullmatch(pattern: str, text: str) -> Match | None:
    """The match of a pattern with the whole of a text.

    Raises:
        SlowPatternError: It takes too long.
    """
    found: Match | None = _limited(pattern, "fullmatch", text)
    return found


def matches(pattern: str, text: str) -> Iterator[Match]:
    """Every match of a pattern in a text.

    Raises:
        SlowPatternError: It takes too long.
    """
    found = _limited(pattern, "finditer", text)
    while True:
        if _left() <= 0:
            raise SlowPatternError(pattern)
        try:
            match = next(found, None)
        except TimeoutError:
            raise SlowPatternError(pattern) from None
        if match is None:
            return
        yield match


def groups(pattern: str) -> dict[str, int]:
    """The named groups of a pattern."""
    return dict(_compiled(pattern).groupindex)


def _limited(pattern: str, method: str, text: str, flags: int = regex.MULTILINE) -> Any:  # noqa: ANN401
    left = _left()
    if left <= 0:
        raise SlowPatternError(pattern)
    try:
        return getattr(_compiled(pattern, flags), method)(text, timeout=left)
    except TimeoutError:
        raise SlowPatternError(pattern) from None


def _left() -> float:
    deadline = _deadline.get()
    return _SECONDS if deadline is None else deadline - time.process_time()


@lru_cache(maxsize=1024)
def _compiled(pattern: str, flags: int = regex.MULTILINE) -> regex.Pattern[str]:
    return regex.compile(pattern, flags)
