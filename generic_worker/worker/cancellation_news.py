"""News of flow runs that are being cancelled: Prefect's event stream, which only hurries.

An event is never believed: it makes the worker ask the API at once which runs are Cancelling. So one that is late, is
lost, or comes twice does no harm, and while the stream is up the worker need not ask each second.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

from generic_worker.jobs import clock

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from prefect.events import Event

_PREFIX = "prefect.flow-run."
_CANCELLING = f"{_PREFIX}Cancelling"
_PAUSE, _LONGEST_PAUSE = 1.0, 120.0
"""Seconds until a stream that has ended is opened again, and what they grow to while none can be had."""


class CancellationNews:
    """Listens for the cancellation of flow runs.

    Args:
        is_mine: Whether a flow run is this worker's.
        logger: The worker's log.

    Attributes:
        is_up: Whether a cancellation would be heard of.
        heard: How often there was a reason to ask: it grows, and nothing else is to be made of it.
    """

    def __init__(
        self, is_mine: Callable[[UUID], bool], logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
    ) -> None:
        self._is_mine = is_mine
        self._logger = logger
        self.is_up = False
        self.heard = 0

    async def listen(self) -> None:
        """Listen until cancelled. Where there is no event stream, that is nobody's trouble: the worker asks instead."""
        pause = _PAUSE
        while True:
            began = clock.now()
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - whatever it is, asking goes on meanwhile
                self._logger.debug("Prefect's event stream: %s", error)
            finally:
                self.is_up = False
            pause = _PAUSE if clock.now() - began > _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _follow(self) -> None:
        """Follow one stream to its end."""
        wanted = EventFilter(event=EventNameFilter(name=[_CANCELLING]))
        async with get_events_subscriber(filter=wanted, reconnection_attempts=0) as events:
            self.is_up = True
            self.heard += 1  # something may have happened while nobody listened
            async for event in events:
                if self._concerns_me(event):
                    self.heard += 1

    def _concerns_me(self, event: Event) -> bool:
        with suppress(ValueError):
            return self._is_mine(UUID(event.resource.id.removeprefix(_PREFIX)))
        return True  # it cannot be read, and may be about anything
