"""How long the event loop stands still while large answers are read, at sizes up to 20,000 jobs and 30 MB, by format.

python tests/benchmarks/reading.py

A watcher asks about all jobs twice, with a real command. The first answer is news about each job, the second is none.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measure import median

from generic_worker.commands.runner import CommandRunner
from generic_worker.job import Job
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from generic_worker.jobs.status_report import StatusReport

SIZES = ((5_000, 300), (10_000, 300), (20_000, 300), (20_000, 1_500))
"""Jobs, and characters that are printed about each beside what is read of it. Of the last, 8 MiB are kept."""
QUERIES = 2
TIMES = 3  # of the longest stalls, the middle one counts: it may have been others' doing, as is what is not busy
RECIPE = """
recipe: 1
name: reading
submit: {run: [echo, '1'], output: {regex: '(?P<id>.+)'}}
status: {run: [cat, FILE], output: OUTPUT}
cancel: {run: ['true']}
states: {running: [R], succeeded: [CD]}
policy: {poll: 1}
"""
COLUMNS = "{columns: [id, state, key, rest], separator: '|'}"
OUTPUTS = {
    "JSON": "{json: '$.jobs[*]', fields: {id: id, state: state, key: key}}",
    "lines of JSON": "{json: $, fields: {id: id, state: state, key: key}}",
    "columns": COLUMNS,
    "a pattern": r"{regex: '^(?P<id>\d+)\|(?P<state>\w+)\|(?P<key>[^|]+)\|.*$'}",
    "odd states": COLUMNS,
    "notices": COLUMNS,
}


def printed(kind: str, jobs: int, room: int) -> str:
    """What the infrastructure says: half of the jobs, and what is none of them."""
    fill, shown = "x" * room, range(jobs // 2)
    if "JSON" in kind:
        records = [{"id": n, "state": "R", "key": f"pf-{n}", "more": {"of": [fill, {"it": n}]}} for n in shown]
        return json.dumps({"jobs": records}) if kind == "JSON" else "".join(f"{json.dumps(one)}\n" for one in records)
    if kind == "notices":
        return "0|R|pf-0|\n" + "".join(f"a notice: {'x y ' * (room // 8)}of {n + jobs}\n" for n in shown)
    state = "R" if kind != "odd states" else "R{}"
    lines = "".join(f"{n}|{state.format(n)}|pf-{n}|{fill}\n" for n in shown)
    return lines + f"a notice about {jobs - 1}\n" * (jobs // 10)


class Asking(Driver):
    """A driver that knows how often it was asked, and how long the answers took."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.seconds: list[float] = []

    async def status(self, jobs) -> StatusReport:
        """Ask, and take the time."""
        begin = time.perf_counter()
        try:
            return await super().status(jobs)
        finally:
            self.seconds.append(time.perf_counter() - begin)


async def measure(kind: str, jobs: int, file: Path) -> tuple[float, float, float]:
    """Seconds that a query takes, the longest for which the loop stood still in some, and of that in processor time."""
    recipe = load(RECIPE.replace("OUTPUT", OUTPUTS[kind]).replace("FILE", str(file))).recipe
    driver, told, longest, busy = Asking(recipe, CommandRunner()), 0, 0.0, 0.0

    def tell(_: object) -> None:
        nonlocal told
        told += 1

    async with Watcher(quiet()) as watcher:
        for n in range(jobs):
            watcher.watch(Job(f"pf-{n}", {}, "reading", id=str(n)), driver, tell)
        await asyncio.sleep(0.1)
        before, used = time.perf_counter(), time.process_time()
        while len(driver.seconds) <= QUERIES:
            await asyncio.sleep(0.001)
            now, cpu = time.perf_counter(), time.process_time()
            longest, busy = max(longest, now - before - 0.001), max(busy, cpu - used)
            before, used = now, cpu
    return max(driver.seconds), longest, busy


def quiet() -> logging.Logger:
    """A logger whose text nobody sees."""
    logger = logging.getLogger("reading")
    logger.propagate, logger.handlers = False, [logging.FileHandler("/dev/null")]
    return logger


def main() -> None:
    """Print the curve."""
    gc.freeze()  # as a worker does when it starts
    print(f"{'format':<15}{'jobs':>8}{'MB':>8}{'seconds':>10}{'stall, ms':>12}{'of that busy':>14}")
    with tempfile.NamedTemporaryFile("w", prefix="generic-worker-reading-") as file:
        for kind in OUTPUTS:
            for jobs, room in SIZES:
                text = printed(kind, jobs, 2 * room)
                Path(file.name).write_text(text)
                found = [asyncio.run(measure(kind, jobs, Path(file.name))) for _ in range(TIMES)]
                seconds, longest, busy = (median(values) for values in zip(*found, strict=True))
                row = f"{kind:<15}{jobs:>8}{len(text) / 1e6:>8.1f}{seconds:>10.2f}"
                print(f"{row}{longest * 1000:>12.0f}{busy * 1000:>14.0f}", flush=True)


if __name__ == "__main__":
    main()
