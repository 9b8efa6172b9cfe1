"""What single fields of a record mean: a text, a reason, a number, a signal. Pure."""

from __future__ import annotations

import re
from signal import Signals
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 65_536
"""Characters of a field that are kept. Secrets are looked for in all of them before any is shown."""
_UNFIT_RE = re.compile("[\0\ud800-\udfff]")


def text_of(found: str) -> str:
    r"""What was found as a field's text: no longer than is looked at, and without what no request or database can hold.

    That is NUL, and half of a character: a program that cuts off a text in the middle of one prints it as `\ud83d`.
    """
    return _UNFIT_RE.sub("\N{REPLACEMENT CHARACTER}", found[:LONGEST])


def reason_of(record: Mapping[str, str]) -> str:
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
