"""What one command costs, beside asyncio's own subprocess; in a process as large as a worker, because sh forks it.

asyncio starts a program with vfork, which copies no page tables. What a fork costs that only starts a program,
without pipes, output, time limit or sh, is measured too: it is the least that a library that forks can cost.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

from figures import Figure
from measure import HERE, main, median, memory, percentile, stalls

MANY, ROUNDS, EACH = 5000, 5, 60


def processor() -> tuple[float, float]:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


def starters(limit: int):
    from generic_worker.commands.runner import Command, CommandRunner  # noqa: PLC0415 - after what makes the process large

    runner, gate = CommandRunner(limit), asyncio.Semaphore(limit)
    pipe = asyncio.subprocess.PIPE

    async def ours():
        assert (await runner.run(Command(("echo", "x")))).stdout == "x\n"

    async def theirs():
        async with gate:
            process = await asyncio.create_subprocess_exec(
                "echo", "x", stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
            )
            assert (await process.communicate())[0] == b"x\n"

    turn = threading.Lock()

    def fork_and_exec():
        with turn:  # as sh's forks have
            child = os.fork()
        if not child:
            os.execv("/bin/true", ["true"])
        os.waitpid(child, 0)

    async def bare():
        await asyncio.to_thread(fork_and_exec)

    return {"ours": ours, "asyncio": theirs, "fork": bare}


async def run(start, number: int) -> dict[str, float]:
    """Processor milliseconds and wall milliseconds per command, and the loop's worst stall."""
    gaps: list[float] = []
    watching = asyncio.create_task(stalls(gaps))
    own, children = processor()
    begin = time.monotonic()
    await asyncio.gather(*(start() for _ in range(number)))
    wall = time.monotonic() - begin
    watching.cancel()
    own, children = (now - was for now, was in zip(processor(), (own, children), strict=True))
    each = 1000 / number
    return {
        "own": own * each,
        "children": children * each,
        "wall": wall * each,
        "stall": max(gaps) * 1000,
        "p99": percentile(gaps, 0.99) * 1000,
    }


async def side_by_side(limit: int, rounds: int, each: int) -> dict[str, dict[str, float]]:
    start = starters(limit)
    found = {name: [] for name in start}
    for _ in range(rounds):
        for name, one in start.items():
            found[name].append(await run(one, each))
    return {name: {key: median(one[key] for one in all_) for key in all_[0]} for name, all_ in found.items()}


def left() -> dict[str, int]:
    """What a process has that it may forget to give back."""
    children = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            children += int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
        except OSError:
            continue
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "children": children,
    }


async def leaks() -> dict[str, float]:
    start = starters(16)["ours"]
    await run(start, 100)  # what is made once is no leak
    before, room = left(), memory()
    await run(start, MANY)
    await asyncio.sleep(1)
    lost = {name: now - before[name] for name, now in left().items()}
    return {**lost, "memory": memory() - room}


def child(what: str, *numbers: int):
    """Run a part of this in a process of its own."""
    words = [sys.executable, __file__, what, *map(str, numbers)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, cwd=HERE)
    return json.loads(done.stdout.splitlines()[-1])


def per_command(number: int) -> dict[str, float]:
    """Processor milliseconds of one command in a process as large as a worker: its own, and its child's."""
    return child("cost", 4, number // ROUNDS)["ours"]


def measure() -> list[Figure]:
    figures = []
    for limit in (1, 16, 64):
        found = child("cost", limit, EACH)
        spent = {name: one["own"] + one["children"] for name, one in found.items()}
        ratio = spent["ours"] / spent["asyncio"]
        figures.append(
            Figure(
                f"processor time of a command, {limit} at once",
                f"{spent['ours']:.1f} ms; {found['ours']['wall']:.1f} ms of time; "
                f"worst stall {found['ours']['stall']:.0f} ms",
                f"{spent['asyncio']:.1f} ms; {found['asyncio']['wall']:.1f} ms; {found['asyncio']['stall']:.0f} ms "
                f"for asyncio's: {ratio:.1f} times. {spent['fork']:.1f} ms for a bare fork and exec",
                "at most 8 times",
                ratio <= 8,
                found,
            )
        )
    lost = child("leaks")
    clean = not any(lost[name] > 0 for name in ("descriptors", "threads", "children"))
    figures.append(
        Figure(
            f"left behind by {MANY} commands: descriptors, threads, child processes",
            f"{lost['descriptors']}, {lost['threads']}, {lost['children']}; {lost['memory'] / 2**20:+.1f} MiB",
            goal="none",
            met=clean,
            raw=lost,
        )
    )
    return figures


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in {"cost", "leaks"}:
        if (
            sys.argv[1] == "cost"
        ):  # in a process as large as a worker; what leaks does so in a small one too, and sooner
            importlib.import_module("generic_worker.worker.worker")
            gc.freeze()  # as the worker does
        work = leaks() if sys.argv[1] == "leaks" else side_by_side(int(sys.argv[2]), ROUNDS, int(sys.argv[3]))
        print(json.dumps(asyncio.run(work)))
    else:
        main(measure)
