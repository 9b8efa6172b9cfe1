"""The line in which flow runs wait to be submitted, so that a burst of thousands does not stop itself.

Prefect starts the submission of all runs of a poll at once. Its client has sixteen connections, so each of a run's
calls waits behind those of all the others, and those that wait for more than a minute fail. Here a run makes its first
call when it can make them all.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PLACES = 16
"""Flow runs that are submitted at once: as many as Prefect's client opens connections (`httpx.Limits` in its code)."""
_LONGEST = 60.0
"""Seconds after which a submission gives its place away. One that waits for its infrastructure makes no calls."""
_FULL = 150
"""Flow runs in the line with which a poll brings little: its answer has 200, and those that wait are among them."""


class SubmissionLine:
    """At most so many submissions at once; the others wait, the first to come first."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_PLACES)
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        """Whether so many wait that none need be asked for."""
        return self._waiting >= _FULL

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for as long as the context lasts, a minute at most."""
        taken = False

        def leave() -> None:
            nonlocal taken
            if taken:
                taken = False
                self._places.release()

        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        taken = True
        leaving = asyncio.get_running_loop().call_later(_LONGEST, leave)
        try:
            yield
        finally:
            leaving.cancel()
            leave()
