"""How long a trial waits: as long as the recipe's own commands make it necessary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generic_worker.cli.trial.recording import Recorder

_COMMANDS = 4
"""Commands that may have to run one after another before something is noticed."""
_LONGEST = 300.0
_LONGEST_IN_COMMANDS = 60


class Limits:
    """Limits that grow with the time that the recipe's commands take.

    Args:
        recorder: Measures the commands.
        timeout: Seconds for the whole trial; five minutes, or more where the commands are slow, when None.
    """

    def __init__(self, recorder: Recorder, timeout: float | None = None) -> None:
        self._recorder = recorder
        self._timeout = timeout
        self._begin = time.monotonic()

    def grown(self, seconds: float) -> float:
        """Seconds that are enough where commands answer at once, and so many more as they take."""
        return seconds + _COMMANDS * self._recorder.slowest

    @property
    def timeout(self) -> float:
        """Seconds for the whole trial."""
        return max(_LONGEST, _LONGEST_IN_COMMANDS * self._recorder.slowest) if self._timeout is None else self._timeout

    @property
    def left(self) -> float:
        """Seconds until the trial's time is over; negative after it."""
        return self._begin + self.timeout - time.monotonic()

    def over(self) -> str:
        """That time is over, in a sentence's words."""
        slow = f"; a command takes up to {self._recorder.slowest:.0f} s" if self._recorder.slowest > 1 else ""
        return f"the trial's time was over, {self.timeout:.0f} s{slow}: give it more with --timeout"
