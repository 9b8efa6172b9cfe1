"""What a trial concludes: a verdict for each thing that was tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Outcome = Literal["holds", "warns", "fails", "not known", "not tried"]


@dataclass(frozen=True)
class Verdict:
    """What one step has found.

    Attributes:
        step: What was tried.
        outcome: Whether the recipe holds; `warns`: it does, and users will see something that is not so, or see it
            late; `not known`: time was over before anything was proven; `not tried`: the recipe or the job gives no
            occasion.
        found: What was found, in a sentence.
        key: The key of the recipe to look at, when it does not hold.
        evidence: The commands that ran, and what they said. No secret is in it.
    """

    step: str
    outcome: Outcome
    found: str
    key: str = ""
    evidence: tuple[str, ...] = ()


class Verdicts(list[Verdict]):
    """The verdicts of a trial so far.

    Args:
        tell: Called with each verdict.
    """

    def __init__(self, tell: Callable[[Verdict], None]) -> None:
        super().__init__()
        self._tell = tell

    def holds(self, step: str, found: str) -> None:
        """Conclude that the recipe holds."""
        self._conclude(Verdict(step, "holds", found))

    def not_tried(self, step: str, why: str) -> None:
        """Conclude nothing, as nothing could be tried."""
        self._conclude(Verdict(step, "not tried", why))

    def not_known(self, step: str, why: str, key: str = "", evidence: tuple[str, ...] = ()) -> None:
        """Conclude nothing, as nothing was proven in time."""
        self._conclude(Verdict(step, "not known", why, key, evidence))

    def warns(self, step: str, found: str, key: str, evidence: tuple[str, ...] = ()) -> None:
        """Conclude that users will see something that is not so, or see it late, and where to look."""
        self._conclude(Verdict(step, "warns", found, key, evidence))

    def fails(self, step: str, found: str, key: str, evidence: tuple[str, ...] = ()) -> None:
        """Conclude that the recipe does not hold, and where to look."""
        self._conclude(Verdict(step, "fails", found, key, tuple(text for text in evidence if text)))

    def _conclude(self, verdict: Verdict) -> None:
        self.append(verdict)
        self._tell(verdict)
