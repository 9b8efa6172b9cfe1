"""What it costs to watch many jobs: processor time per poll, and memory per job. Run it; it prints both."""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import tempfile
import time
import tracemalloc

from generic_worker.commands import CommandRunner
from generic_worker.driver import Driver
from generic_worker.jobs import Job
from generic_worker.library import load
from generic_worker.watcher import Watcher

LISTING = """
recipe: 1
name: listing
variables: {{list: {{type: string}}}}
submit: {{run: [echo, '1'], output: {{regex: '(?P<id>.+)'}}}}
status: {{run: [cat, '${{list}}'{names}], output: {{columns: [id, state, key, reason], separator: '|'}}}}
cancel: {{run: ['true']}}
states: {{running: [RUNNING], succeeded: [COMPLETED]}}
"""


def processor_seconds() -> tuple[float, float]:
    """Of this process, and of the commands that it ran."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


async def watch(number: int, names: str, label: str) -> None:
    with tempfile.NamedTemporaryFile("w+") as file:
        file.writelines(f"{n}|RUNNING|pf-{n}|None\n" for n in range(number))
        file.flush()
        driver = Driver(load(LISTING.format(names=names)).recipe, CommandRunner(4))
        values = {"list": file.name}
        jobs = [Job(f"pf-{n}", values, "listing", id=str(n)) for n in range(number)]
        async with Watcher(logging.getLogger()) as watcher:
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            for job in jobs:
                watcher.watch(job, driver, lambda _: None)
            await asyncio.sleep(0.1)
            per_job = (tracemalloc.get_traced_memory()[0] - before) / number
            tracemalloc.stop()
            await asyncio.sleep(3)  # the first polls, which report every job
            own, commands = processor_seconds()
            begin, polls = time.monotonic(), 20
            for _ in range(polls):
                await driver_poll(watcher)
            wall = time.monotonic() - begin
            own, commands = (after - was for after, was in zip(processor_seconds(), (own, commands), strict=True))
        print(
            f"{label}: {number} jobs: {own / polls * 1000:.0f} ms of processor time per poll, "
            f"{commands / polls * 1000:.0f} ms of its commands, {wall / polls * 1000:.0f} ms in all; "
            f"{per_job:.0f} bytes per watch"
        )


async def driver_poll(watcher: Watcher) -> None:
    """One poll of the only circle, now."""
    (place,) = watcher._places.values()
    (circle,) = place.circles.values()
    await watcher._poll(circle)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    asyncio.run(watch(count, "", "one list of all jobs"))
    asyncio.run(watch(count, ", \"--\", \"/dev/null${job_ids | join(',') | truncate(0, true, '')}\"", "batches of 500"))
