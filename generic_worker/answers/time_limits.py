"""How long the patterns of one answer may take, and what is concluded when one takes too long."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import ParamSpec

from generic_worker.language.operations import Operation
from generic_worker.language.patterns import SlowPatternError, time_limit

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def in_time(otherwise: Callable[[str], T]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Bound the time of all patterns of an answer.

    Args:
        otherwise: What is concluded when one takes too long, from a text that says which.
    """

    def limit(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def limited(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                with time_limit():
                    return function(*args, **kwargs)
            except SlowPatternError as error:
                operation = next((arg for arg in args if isinstance(arg, Operation)), None)
                return otherwise(f"{_place(operation, error.pattern)}{error}")

        return limited

    return limit


def _place(operation: Operation | None, pattern: str) -> str:
    """Where a pattern stands in a command, such as `output.regex: `; a path's own patterns stand in it."""
    written = operation.model_dump(by_alias=True) if operation else {}
    return next((f"{path}: " for path, text in _texts("", written) if text == pattern or f"'{pattern}'" in text), "")


def _texts(path: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(path, value)]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for name, item in items for found in _texts(f"{path}.{name}" if path else str(name), item)]
