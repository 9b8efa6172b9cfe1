"""What is true of every call of the Prefect API: what time it is there, that it is not too late, and who answers.

Prefect's client makes a call again when it fails, up to a minute later; and a process may be stopped at any time, or
its host asleep. So a call is not made because somebody meant to make it a moment ago, but because that still holds when
the request is about to be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx

from generic_worker.jobs import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun


FRESH = 20.0
"""Seconds for which what was read may be acted upon. While the API takes longer to answer, nothing is changed."""


class OutdatedCallError(Exception):
    """The reason for a call of the API did not hold any more when it was about to be made. Nothing was sent."""


class Moment:
    """A moment of the running event loop, to be asked, in any thread, how long ago it was."""

    def __init__(self) -> None:
        self._steady = asyncio.get_running_loop().time
        self._began = self._steady(), time.time()

    @property
    def age(self) -> float:
        """Seconds since then, by whichever clock has seen more: the steady one stands still while a host sleeps."""
        steady, wall = self._began
        return max(self._steady() - steady, time.time() - wall)


_OUT_OF_TOUCH = 60.0
"""Seconds without an answer, of all that a worker asks all the time, after which it was away itself, or the API was."""


class ApiClock:
    """The API's clock, as the `Date` of its answers shows it: to a second, and whatever this host's clock says.

    Until it has answered once it is taken to go as this host's.
    """

    def __init__(self) -> None:
        self._there: datetime | None = None
        self._here = 0.0
        self._heard: Moment | None = None
        self._back: Moment | None = None
        self._returned = asyncio.Event()

    def now(self) -> datetime:
        """The time there."""
        if self._there is None:
            return datetime.now(timezone.utc)
        return self._there + timedelta(seconds=clock.now() - self._here)

    def age(self, moment: datetime) -> float:
        """Seconds since a moment that the API has noted."""
        return (self.now() - moment).total_seconds()

    def in_state(self, flow_run: FlowRun) -> float:
        """Seconds for which a flow run has been in its state."""
        return self.age(flow_run.state.timestamp) if flow_run.state else 0.0

    def ahead(self) -> float:
        """Seconds by which this host's clock is ahead."""
        return (datetime.now(timezone.utc) - self.now()).total_seconds()

    def in_touch(self) -> float:
        """Seconds since it answered again after an outage, of the API or of this host; endless if there was none."""
        return math.inf if self._back is None else self._back.age

    async def pause(self, seconds: float) -> None:
        """Sleep; less when meanwhile the API answers again, whoever asks it, of which nothing was heard for long."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._returned.wait(), seconds)

    def note(self, response: httpx.Response) -> None:
        """Read the time in an answer."""
        if not response.is_server_error:
            if self._heard is not None and self._heard.age > _OUT_OF_TOUCH:
                self._back = Moment()
                self._returned.set()
                self._returned = asyncio.Event()
            self._heard = Moment()
        with contextlib.suppress(KeyError, ValueError, TypeError):  # an answer without one, or with another text there
            there = parsedate_to_datetime(response.headers["Date"])
            self._there, self._here = there.astimezone(timezone.utc), clock.now()


_holds: ContextVar[Callable[[], bool] | None] = ContextVar("holds", default=None)


@contextlib.contextmanager
def only_while(holds: Callable[[], bool]) -> Iterator[None]:
    """Let no call be made in this context, and none be made again, once something does not hold any more.

    Raises:
        OutdatedCallError: By the call.
    """
    token = _holds.set(holds)
    try:
        yield
    finally:
        _holds.reset(token)


def look_after_calls(client: PrefectClient, api_clock: ApiClock) -> None:
    """Let a client keep to `only_while`, and a clock hear its answers. Prefect's client has no other place for this."""
    hooks = client._client.event_hooks  # noqa: SLF001 - see above
    if any(getattr(hook, "__func__", hook) is _send_only_what_holds for hook in hooks["request"]):
        return

    async def note(response: httpx.Response) -> None:
        api_clock.note(response)

    hooks["request"].append(_send_only_what_holds)
    hooks["response"] += [_take_no_page_for_an_answer, note]


async def _take_no_page_for_an_answer(response: httpx.Response) -> None:
    """A page with status 200 is no answer, but a proxy's word for an outage: the call was not made, or nobody knows.

    Raises:
        httpx.RemoteProtocolError: It is one. Whoever has made the call takes it for what any failing network raises.
    """
    kind = response.headers.get("Content-Type", "")
    if response.is_success and kind and "json" not in kind.lower():
        text = f"{response.url} answers with {kind} and not with JSON. Is PREFECT_API_URL right, or a proxy between?"
        raise httpx.RemoteProtocolError(text, request=response.request)


async def _send_only_what_holds(_request: httpx.Request) -> None:
    holds = _holds.get()
    if holds is not None and not holds():
        raise OutdatedCallError
