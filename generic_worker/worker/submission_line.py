"""The line in which flow runs wait to be submitted, so that a burst of thousands does not stop itself.

Prefect starts the submission of all runs of a poll at once. Its client has sixteen connections, so each of a run's
calls waits behind those of all the others, and those that wait for more than a minute fail. Of sixteen the client keeps
eight; the others are closed after each call, and to open one takes the server as long as a small answer.

So a run makes its first call when it can make them all by a connection that is kept. While its submit command runs it
makes none, and the next has its place: how many commands run at once is the recipe's to say, and not the line's.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

_PLACES = 6
"""Flow runs that make their calls at once. The client keeps eight connections (`httpx.Limits` in its code): there are
also the ids of jobs to be saved, and what is asked beside."""
_LONGEST = 60.0
"""Seconds after which a run gives its place away, whatever it waits for."""
_FULL = 150
"""Flow runs in the line with which a poll brings little: its answer has 200, and those that wait are among them."""


class SubmissionLine:
    """At most so many submissions at once; the others wait, the first to come first."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_PLACES)
        self._inside: set[UUID] = set()
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        """Whether so many wait that none need be asked for."""
        return self._waiting >= _FULL

    def leave(self, flow_run_id: UUID) -> None:
        """Give the place of a flow run away, if it has one."""
        if flow_run_id in self._inside:
            self._inside.remove(flow_run_id)
            self._places.release()

    @contextlib.asynccontextmanager
    async def place(self, flow_run_id: UUID) -> AsyncIterator[None]:
        """A place for as long as the context lasts, until it leaves before, and for a minute at most."""
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        self._inside.add(flow_run_id)
        leaving = asyncio.get_running_loop().call_later(_LONGEST, self.leave, flow_run_id)
        try:
            yield
        finally:
            leaving.cancel()
            self.leave(flow_run_id)
