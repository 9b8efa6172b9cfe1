"""Work about many jobs in the event loop, which others need meanwhile."""

from __future__ import annotations

import asyncio
import time

_SECONDS = 0.01
"""Seconds of work, however many jobs it is about, after which all others have a turn."""


class Turn:
    """The time that some work has before others have a turn."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def end_in_time(self) -> None:
        """Let others have a turn if this has lasted for long; to be called before each small step."""
        if time.perf_counter() - self._began > _SECONDS:
            await asyncio.sleep(0)
            self._began = time.perf_counter()
