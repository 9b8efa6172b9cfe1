"""Processes of a trial's job that its first process has started, and whether they are still there.

A flow run's engine is in a session of its own. So is this one: what ends the job has to reach it too.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generic_worker.cli.trial.limits import Limits

_PATIENCE = 20.0
"""Seconds in which the processes of a job that has ended have to be gone: a job script needs up to fifteen."""


class Descendant:
    """A process that a job starts, known by the last word of its command line.

    Attributes:
        seen: Whether it was ever there, as far as can be seen from this host.
    """

    def __init__(self) -> None:
        self._mark = f"generic-worker-try-{uuid.uuid4().hex[:12]}"
        self.seen = False

    def script(self, seconds: int, before: str = "") -> str:
        """Shell lines of a job that starts it, and waits for it."""
        loop = f'n=0; while [ "$n" -lt {seconds} ]; do n=$((n + 1)); sleep 1; done'
        return f"{before}$(command -v setsid) sh -c '{loop}' {self._mark} & wait"

    def pids(self) -> list[int]:
        """Its process ids on this host; empty where it is not here, or where nobody may look."""
        end = f"\0{self._mark}\0".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if path.read_bytes().endswith(end):
                    found.append(int(path.parent.name))
            except OSError:  # it has ended meanwhile
                continue
        self.seen = self.seen or bool(found)
        return found

    async def left(self, limits: Limits) -> list[int]:
        """Its process ids that are still there when they had time to go."""
        begin = time.monotonic()
        while pids := self.pids():
            if time.monotonic() - begin > limits.grown(_PATIENCE):
                return pids
            await asyncio.sleep(0.5)
        return []
