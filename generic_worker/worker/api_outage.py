"""What the worker does while the Prefect API does not answer as it should: it waits, says so once, and goes on.

Prefect's own loops end a worker after some failures in a row, and at once when an answer is no JSON or has the status
429 or 401. An outage mends itself, or somebody mends it; a worker that has ended mends nothing.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

import httpx

from generic_worker.jobs.clock import now

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable

    from generic_worker.worker.api_calls import ApiClock

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 45.0
"""Seconds between two tries, at first and at most: less than a minute, in which all is to go on after an outage.
Whatever else asks the API meanwhile ends the pause when that answers again."""
_SHOWN = 200
"""Characters of an error that a warning shows."""


class WrongApiError(Exception):
    """What answers is not the API that the worker was told to use; waiting does not mend that."""


class ApiOutage:
    """Calls of one kind that go on through an outage of the API.

    Args:
        what: What is done by them, for the log, such as "polling for flow runs".
        logger: Gets one warning when an outage begins, and one when it is over.
        url: The API's address, for the message about a wrong one.
        clock: Hears when the API answers again, and makes the pauses.
    """

    def __init__(
        self, what: str, logger: logging.Logger | logging.LoggerAdapter[logging.Logger], url: str, clock: ApiClock
    ) -> None:
        self._what, self._logger, self._url, self._clock = what, logger, url, clock
        self._answered = False
        self._failures = 0
        self._since = 0.0

    async def outlast(
        self, call: Callable[[], Awaitable[T]], otherwise: T, pausing: Callable[[float], None] = lambda _: None
    ) -> T:
        """Make a call. If it fails, pause, longer each time, and answer in its place; its loop makes the next.

        Args:
            call: The call.
            otherwise: The answer in its place.
            pausing: Told for how many seconds, before each pause.

        Raises:
            WrongApiError: The first answer of all was a 404: the address is wrong.
        """
        try:
            result = await call()
        except Exception as error:
            if not self._answered and is_wrong_address(error):
                text = f"{self._url} is not the address of a Prefect API: it answers with 404. Set PREFECT_API_URL."
                raise WrongApiError(text) from error
            self._note(error)
            pausing(seconds := self._pause())
            await self._clock.pause(seconds)
            return otherwise
        self._answered = True
        if self._failures:
            seconds = now() - self._since
            self._logger.warning("The Prefect API answers again after %.0f s: %s goes on.", seconds, self._what)
            self._failures = 0
        return result

    def _note(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            self._since = now()
            text = "The Prefect API does not answer as it should, and %s waits for it. Jobs are watched on. %s: %s"
            self._logger.warning(text, self._what, type(error).__name__, _brief(error))
        else:
            self._logger.debug("The Prefect API still does not answer: %s: %s", type(error).__name__, _brief(error))

    def _pause(self) -> float:
        wait = min(_FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10), _LONGEST_PAUSE)
        return wait * random.uniform(0.8, 1.0)  # noqa: S311 - jitter


def is_wrong_address(error: BaseException) -> bool:
    """Whether an error says that there is no such API at all."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.NOT_FOUND


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
