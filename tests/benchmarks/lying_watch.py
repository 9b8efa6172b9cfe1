"""What a watch that lies can do: how often it makes the worker ask, how long the loop stands still, what it costs.

python tests/benchmarks/lying_watch.py [SECONDS]

Each kind of lie is told for some seconds to a watcher of 500 running jobs. Nothing that it says may end one.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import tempfile
import time
from pathlib import Path

from generic_worker.commands.runner import CommandRunner
from generic_worker.job import Job
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

JOBS = 500
RECIPE = """
recipe: 1
name: lying
variables: {place: {type: string}}
submit: {run: [echo, '1'], output: {regex: '(?P<id>.+)'}}
status: {run: 'echo >>"$place/asked"; cat "$place/list"', output: {columns: [id, state], separator: '|'}}
watch: {run: WATCH, output: {regex: '^changed (?P<id>\\w+)$'}}
cancel: {run: ['true']}
states: {running: [R], succeeded: [CD]}
policy: {poll: 15}
"""
LIES = {
    "silence": "sleep 600",
    "jobs that do not exist": "while echo changed 99999; do sleep 0.01; done",
    "that a job has ended": "while echo '1|CD'; do sleep 0.01; done",
    "every line names a job": "while echo changed 1; do sleep 0.01; done",
    "a flood": "exec yes 'changed 99999'",
    "a flood of nonsense": "exec yes 'nothing that can be read'",
    "binary": "exec cat /dev/urandom",
    "half lines": "while printf 'changed'; do sleep 0.01; done",
    "no line at all": "exec tr '\\\\0' x </dev/zero",
    "it ends at once": "true",
    "there is no such program": "exec no-such-program",
}


def _cpu() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


async def tell(lie: str, seconds: float) -> tuple[int, int, float, float]:
    """Queries, wrong ends, the longest time in which the loop stood still, and seconds of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "list").write_text("".join(f"{n}|R\n" for n in range(JOBS)))
        driver = Driver(load(RECIPE.replace("WATCH", repr(lie))).recipe, CommandRunner())
        async with Watcher(logging.getLogger("lying")) as watcher:
            watches = [
                watcher.watch(Job(f"pf-{n}", {"place": folder}, "lying", id=str(n)), driver, lambda _: None)
                for n in range(JOBS)
            ]
            await asyncio.sleep(6)
            (place / "asked").write_text("")
            begin, longest, used = time.perf_counter(), 0.0, _cpu()
            while time.perf_counter() - begin < seconds:
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                longest = max(longest, time.perf_counter() - before - 0.001)
            used = _cpu() - used
            return (place / "asked").read_text().count("\n"), sum(w.ended.done() for w in watches), longest, used


def main() -> None:
    """Print what each lie does."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    print(f"{'the watch says':<28}{'queries':>9}{'wrong ends':>12}{'stall, ms':>11}{'CPU, %':>8}")
    for name, lie in LIES.items():
        queries, wrong, longest, used = asyncio.run(tell(lie, seconds))
        print(f"{name:<28}{queries:>9}{wrong:>12}{longest * 1000:>11.0f}{used / seconds * 100:>8.1f}")


if __name__ == "__main__":
    main()
