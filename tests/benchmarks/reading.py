"""How long the event loop stands still while large answers are read, at four sizes: in JSON, columns and a pattern.

python tests/benchmarks/reading.py
"""

from __future__ import annotations

import asyncio
import json
import time

from generic_worker.commands.runner import CommandResult, CommandRunner
from generic_worker.job import Job
from generic_worker.jobs.driver import Driver
from generic_worker.library.loading import load

SIZES = (2_500, 5_000, 10_000, 20_000)
RECIPE = """
recipe: 1
name: reading
submit: {run: [echo, '1'], output: {regex: '(?P<id>.+)'}}
status: {run: [list], output: OUTPUT}
cancel: {run: ['true']}
states: {running: [R], succeeded: [CD]}
"""
OUTPUTS = {
    "json": "{json: '$.jobs[*]', fields: {id: id, state: state, key: key}}",
    "columns": "{columns: [id, state, key, rest], separator: '|'}",
    "regex": r"{regex: '^(?P<id>\d+)\|(?P<state>\w+)\|(?P<key>[^|]+)\|.*$'}",
}
FILL = "x" * 300


def printed(kind: str, jobs: int) -> str:
    """What the infrastructure says: half of the jobs, and a line that is none of them."""
    if kind == "json":
        return json.dumps({"jobs": [{"id": n, "state": "R", "key": f"pf-{n}", "fill": FILL} for n in range(jobs // 2)]})
    return "".join(f"{n}|R|pf-{n}|{FILL}\n" for n in range(jobs // 2)) + f"a notice about {jobs - 1}\n" * (jobs // 10)


class Said(CommandRunner):
    """A runner whose commands have printed something."""

    text = ""

    async def run(self, command: object) -> CommandResult:
        """Say it."""
        return CommandResult(command, 0, self.text, "", 0.0)


async def measure(kind: str, jobs: int) -> tuple[float, float]:
    """Seconds that one query takes, and the longest time for which the loop stood still."""
    runner = Said()
    runner.text = printed(kind, jobs)
    driver = Driver(load(RECIPE.replace("OUTPUT", OUTPUTS[kind])).recipe, runner)
    asked = [Job(f"pf-{n}", {}, "reading", id=str(n)) for n in range(jobs)]
    longest, stop = 0.0, asyncio.Event()

    async def beat() -> None:
        nonlocal longest
        while not stop.is_set():
            begin = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - begin - 0.001)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0.05)
    begin = time.perf_counter()
    await driver.status(asked)
    seconds = time.perf_counter() - begin
    stop.set()
    await beating
    return seconds, longest


def main() -> None:
    """Print the curve."""
    print(f"{'format':<10}{'jobs':>8}{'MB':>8}{'seconds':>10}{'stall, ms':>12}")
    for kind in OUTPUTS:
        for jobs in SIZES:
            seconds, longest = asyncio.run(measure(kind, jobs))
            size = len(printed(kind, jobs)) / 1e6
            print(f"{kind:<10}{jobs:>8}{size:>8.1f}{seconds:>10.2f}{longest * 1000:>12.0f}")


if __name__ == "__main__":
    main()
