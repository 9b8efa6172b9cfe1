"""The clock that everything about jobs goes by: the running event loop's, which asyncio also sleeps by."""

from __future__ import annotations

import asyncio


def now() -> float:
    """Seconds of the running event loop's clock, which never goes back; only differences mean anything.

    It is not read from `time`, so that whoever runs the loop says what time it is: a test runs it with a clock that
    jumps, and neither waits nor depends on how fast its machine is.
    """
    return asyncio.get_running_loop().time()
