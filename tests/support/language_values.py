"""Values for expressions of the recipe language, one of each kind."""

from __future__ import annotations

from typing import Any

VALUES: dict[str, Any] = {
    "one": "1 one",
    "absent": None,
    "number": 4,
    "half": 0.5,
    "yes": True,
    "few": ["a", "b c"],
    "nothing": [],
    "labels": {"team": "x", "cost": "y=1"},
    "aws": {"key": "k", "token": None},
    "tricky": "${one} {{ one }} $${one}",
}
