"""Ids as an infrastructure makes them: one of their shape that no job has."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAR_OFF = 1_000_000
_OTHER_LETTERS = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "nopqrstuvwxyzabcdefghijklmNOPQRSTUVWXYZABCDEFGHIJKLM"
)


def other_id(known: Sequence[str]) -> str:
    """An id of the same shape that no job has: it differs from the first one where those of other jobs do.

    Args:
        known: Ids of jobs, at least one. With one only, its number or the last part of its path differs.
    """
    job_id = known[0]
    head, tail = _common_ends(known) if len(set(known)) > 1 else _fixed_ends(job_id)
    return f"{head}{_changed(job_id[len(head) : len(job_id) - len(tail)])}{tail}"


def _common_ends(known: Sequence[str]) -> tuple[str, str]:
    """What all ids begin and end with, without the digits of a number that goes on."""
    head = re.sub(r"\d+$", "", _common(known))
    rests = [one[len(head) :] for one in known]
    tail = _common([rest[::-1] for rest in rests])[::-1]
    return head, re.sub(r"^\d+", "", tail)


def _common(texts: Sequence[str]) -> str:
    """What all texts begin with."""
    return "".join(same[0] for same in takewhile(lambda place: len(set(place)) == 1, zip(*texts, strict=False)))


def _fixed_ends(job_id: str) -> tuple[str, str]:
    if numbered := re.fullmatch(r"\d+(\.[\w.-]+)", job_id):  # PBS adds its server's name
        return "", numbered[1]
    return job_id[: job_id.rfind("/") + 1], ""


def _changed(text: str) -> str:
    if re.fullmatch(r"\d+", text):
        return str(int(text) + _FAR_OFF)
    if re.search(r"\d", text):
        return re.sub(r"\d", lambda digit: str(9 - int(digit[0])), text)
    return text.translate(_OTHER_LETTERS)
