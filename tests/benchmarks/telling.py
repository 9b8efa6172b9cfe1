"""How soon the end of a job is known with the recipe's `watch` and without it, and how many commands that takes.

python tests/benchmarks/telling.py [docker | kubernetes | htcondor | systemd | process]

Each job is watched in both ways at the same time, so both have the same ends to notice. They end in their first minute,
in which they are asked about most. The time of an end is the last that the job itself can tell. Kubernetes is the real
kubectl and a stand-in for its API, which looks ten times a second for what has changed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shlex
import sys
import tempfile
import time
import uuid
from pathlib import Path

from measure import median, percentile
from peer_sites import Docker, backend

from generic_worker.commands.rendering import job_values
from generic_worker.commands.runner import CommandRunner
from generic_worker.job import Job
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

BACKENDS = {"kubernetes": "kubernetes", "htcondor": "htcondor", "systemd": "systemd-user"}
JOBS = 40
FIRST, LAST = 25.0, 55.0  # seconds that a job runs: when the first ends all are there, and the last is still young


class Counting(CommandRunner):
    """A runner that knows how many commands have run."""

    count = 0

    async def run(self, command):
        self.count += 1
        return await super().run(command)


def site(name: str, folder: str) -> dict:
    """The variables for jobs that can write to a folder; how to reach the infrastructure goes to the environment."""
    if name != "docker":
        os.environ.update(backend(BACKENDS[name]) if name in BACKENDS else {})
        return {}
    docker = Docker()
    os.environ.update(docker.env)
    mounts = [*docker.mounts, f"{folder}:{folder}"]
    return {"image": "hostfs", "image_pull_policy": "never", "network": "host", "volumes": mounts}


def a_job(driver: Driver, given: dict, folder: str, number: int) -> Job:
    """A job that ends at some time, and writes down when."""
    key = f"pf-{uuid.uuid4().hex}-000000"
    script = f"sleep {random.uniform(FIRST, LAST):.2f}; date +%s.%N >{folder}/{number}"
    defaults = {variable: schema.get("default") for variable, schema in driver.recipe.variables.items()}
    about = {
        "job_key": key,
        "job_name": "telling",
        "command": shlex.join(["sh", "-c", script]),
        "env": {},
        "labels": {},
    }
    values = job_values(driver.recipe, {**defaults, **given}, about)
    return Job(key, values, driver.recipe.name, driver.scope(values))


def ended(folder: str, number: int) -> float:
    """When a job has ended, in seconds since the epoch."""
    return float(Path(folder, str(number)).read_text())


async def measure(name: str, folder: str) -> dict[str, tuple[list[float], float]]:
    """By how it was watched: seconds from the end of each job until it was known, and commands a minute."""
    given, recipe = site(name, folder), load(name).recipe
    silent = recipe.model_copy(update={"watch": None})
    drivers = {"with watch": Driver(recipe, Counting()), "without": Driver(silent, Counting())}
    either = drivers["without"]
    jobs = [a_job(either, given, folder, number) for number in range(JOBS)]
    try:
        async with Watcher(logging.getLogger("telling")) as watcher:
            await asyncio.gather(*(either.submit(job) for job in jobs))
            before, begin = {how: driver.runner.count for how, driver in drivers.items()}, time.monotonic()
            tasks = {
                how: [asyncio.create_task(known(watcher, job, driver)) for job in jobs]
                for how, driver in drivers.items()
            }
            times = {how: await asyncio.gather(*some) for how, some in tasks.items()}
            minutes = (time.monotonic() - begin) / 60
            ends = [ended(folder, number) for number in range(JOBS)]
            return {
                how: (
                    sorted(at - end for at, end in zip(times[how], ends, strict=True)),
                    (driver.runner.count - before[how]) / minutes,
                )
                for how, driver in drivers.items()
            }
    finally:
        await asyncio.gather(*(either.cleanup(job) for job in jobs))


async def known(watcher: Watcher, job: Job, driver: Driver) -> float:
    """When the end of a job is known, in seconds since the epoch."""
    await watcher.watch(job, driver, lambda _: None).ended
    return time.time()


def main() -> None:
    """Print what was measured."""
    name = sys.argv[1] if len(sys.argv) > 1 else "docker"
    with tempfile.TemporaryDirectory(prefix="generic-worker-telling-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        found = asyncio.run(measure(name, folder))
    print(f"from the end of a job until it is known: {JOBS} jobs of {name}, each of less than a minute")
    print(f"{'':<12}{'median, s':>11}{'95 %, s':>9}{'commands a minute':>19}")
    for how, (seconds, commands) in found.items():
        print(f"{how:<12}{median(seconds):>11.2f}{percentile(seconds, 0.95):>9.2f}{commands:>19.0f}")


if __name__ == "__main__":
    main()
