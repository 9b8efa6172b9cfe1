"""What single fields of a record mean: a reason, a number, a signal. Pure."""

from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generic_worker.answers.records import Record


def reason_of(record: Record) -> str:
    """The reason, if it is one: many systems have a word for none."""
    reason = record.get("reason", "")
    return "" if reason.lower() in {"none", "(null)", "null", "n/a", "-"} else reason


def number_of(text: str | None) -> int | None:
    """The whole number that a text is; None if it is none."""
    try:
        return int(text) if text else None
    except ValueError:
        return None


def signal_of(text: str | None) -> int | None:
    """A signal's number from a number or a name; None for 0, as schedulers write where there was none."""
    number = number_of(text)
    if number is None and text:
        name = text.upper().removeprefix("SIG")
        number = next((s.value for s in Signals if s.name == f"SIG{name}"), None)
    return number or None
