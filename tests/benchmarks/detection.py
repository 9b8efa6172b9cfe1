"""How long it takes from the end of a job until its flow run is Crashed, for short jobs and for long ones."""

from __future__ import annotations

import random
import time
from uuid import UUID

from measure import Deployment, Figure, Worker, main, median, percentile, prefect_server, until, workers

RUNS, POLL = 200, 5
SHORT = 20.0  # seconds that the first half of the jobs last
LONG = 32.0 * POLL  # and the others: from an age of 30 polls on, a job is asked about at every poll only
SPREAD = 50.0  # seconds over which the long ones end


def recipe(jobs: str, ends: str) -> dict:
    """Jobs that are lines of a file; what another file says later about them holds."""
    return {
        "recipe": 1,
        "name": "listing",
        "submit": {
            "run": ["tee", "-a", jobs],
            "stdin": "${job_key}|RUNNING|${job_key}\n",
            "output": {"regex": r"^(?P<id>[^|\n]+)\|"},
        },
        "status": {
            "run": ["cat", "--", jobs, ends],
            "output": {"columns": ["id", "state", "key"], "separator": "|"},
        },
        "cancel": {"run": ["true"]},
        "states": {"running": ["RUNNING"], "succeeded": ["COMPLETED"], "failed": ["FAILED"]},
        "policy": {"poll": POLL},
    }


def let_them_end(jobs, ends) -> tuple[dict[UUID, float], set[UUID]]:
    """End every job at its time; returns when each was ended, by flow run, and which of them were short."""
    due: dict[str, float] = {}
    short: set[str] = set()
    ended: dict[str, float] = {}
    while len(ended) < RUNS:
        now = time.time()
        for line in jobs.read_text().splitlines():
            key = line.split("|")[0]
            if key not in due and line.count("|") == 2:
                if len(due) < RUNS / 2:
                    short.add(key)
                due[key] = now + (SHORT if key in short else LONG + random.uniform(0, SPREAD))
        for key in [key for key, at in due.items() if at < now and key not in ended]:
            with ends.open("a") as file:
                file.write(f"{key}|FAILED|{key}\n")
            ended[key] = time.time()
        time.sleep(0.05)
    runs = {key: UUID(key.split("-")[1]) for key in ended}
    return {runs[key]: at for key, at in ended.items()}, {runs[key] for key in short}


def measure() -> list[Figure]:
    with prefect_server() as server:
        from generic_worker.library import load  # noqa: PLC0415 - after the server's settings
        from generic_worker.template import base_job_template  # noqa: PLC0415 - as above

        jobs, ends = server.home / "jobs", server.home / "ends"
        jobs.touch()
        ends.touch()
        pool = Deployment(server, "detection", "generic", base_job_template(load(recipe(str(jobs), str(ends)))))
        worker = Worker(server, "detection", "generic")
        with workers(worker):
            pool.runs(RUNS)
            ended, short = let_them_end(jobs, ends)

            def crashed():
                runs = pool.read(ended)
                return runs if all(run.state.is_crashed() for run in runs) else None

            runs = until(crashed, 120, every=1)
    late = {run.id: run.state.timestamp.timestamp() - ended[run.id] for run in runs}
    return [
        row("a job of 20 s", [late[run] for run in short], 2),
        row(
            f"a job of {LONG:.0f} s or more, poll {POLL} s", [late[run] for run in ended if run not in short], POLL + 1
        ),
    ]


def row(what: str, seconds: list[float], most: float) -> Figure:
    high = percentile(seconds, 0.95)
    return Figure(
        f"from the end of {what} to the Crashed flow run, of {len(seconds)}",
        f"median {median(seconds):.1f} s, 95 % within {high:.1f} s",
        goal=f"at most {most} s",
        met=high <= most,
        raw={"seconds": sorted(seconds)},
    )


if __name__ == "__main__":
    main(measure)
