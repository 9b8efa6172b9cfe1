"""Patterns of a recipe, matched within a time limit.

Some patterns take years for a text of thirty characters, and what a command prints may be anybody's text. They are
matched with `regex`, which has a time limit and lets other threads run meanwhile; `re` has neither.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import regex

from generic_worker.errors import GenericWorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
Match: TypeAlias = "regex.Match[str]"

_SECONDS = 5.0
"""Seconds of processor time that all matching for one answer may take; a healthy pattern reads megabytes in them."""


class _Limit:
    """The time that is left for matching in a context; what is spent there is spent in those around it too.

    Only matching counts: a look at the clock now and then would also count what other threads and the garbage collector
    do meanwhile, and a healthy pattern would seem slow.
    """

    def __init__(self, seconds: float, outer: _Limit | None) -> None:
        self.left: float = seconds if outer is None else min(seconds, outer.left)
        self._outer = outer

    def spend(self, seconds: float) -> None:
        self.left -= seconds
        if self._outer is not None:
            self._outer.spend(seconds)


_limit: ContextVar[_Limit | None] = ContextVar("limit", default=None)


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
def time_limit(seconds: float | None = None) -> Iterator[None]:
    """All matching in this context takes at most so many seconds of processor time, together; by default, an answer's.

    A limit around it holds as well.
    """
    token = _limit.set(_Limit(_SECONDS if seconds is None else seconds, _limit.get()))
    try:
        yield
    finally:
        _limit.reset(token)


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
    while (match := _in_time(pattern, lambda _: next(found, None))) is not None:
        yield match


def groups(pattern: str) -> dict[str, int]:
    """The named groups of a pattern."""
    return dict(_compiled(pattern).groupindex)


def _limited(pattern: str, method: str, text: str, flags: int = regex.MULTILINE) -> Any:  # noqa: ANN401
    return _in_time(pattern, lambda left: getattr(_compiled(pattern, flags), method)(text, timeout=left))


def _in_time(pattern: str, function: Callable[[float], T]) -> T:
    """What a function returns that may take the seconds that it is given; they are spent."""
    limit = _limit.get()
    left = spent = _SECONDS if limit is None else limit.left
    if left <= 0:
        raise SlowPatternError(pattern)
    began = time.thread_time()
    try:
        found = function(left)
        spent = time.thread_time() - began
    except TimeoutError:
        raise SlowPatternError(pattern) from None
    finally:
        if limit is not None:
            limit.spend(spent)
    return found


@lru_cache(maxsize=1024)
def _compiled(pattern: str, flags: int = regex.MULTILINE) -> regex.Pattern[str]:
    return regex.compile(pattern, flags)
