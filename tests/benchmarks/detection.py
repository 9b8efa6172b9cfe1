"""How long it takes from the end of a job until its flow run is Crashed, for young jobs and for old ones."""

from __future__ import annotations

import random
import time

from figures import Figure
from measure import Deployment, Worker, main, median, percentile, prefect_server, until, workers

RUNS, POLL = 200, 5
YOUNG = (3.0, 57.0)  # seconds after its start at which every second job ends
OLD = (60.0, 120.0)  # and the others, which are so old that they are asked about at every poll interval only


def recipe(jobs: str, ends: str) -> dict:
    """Jobs that are lines of a file; what another file says later about them holds."""
    last = "{ line[$1] = $0 } END { for (id in line) print line[id] }"
    return {
        "recipe": 1,
        "name": "listing",
        "submit": {"run": ["false"], "output": {"regex": "(?P<id>.+)"}},
        "status": {
            "run": ["awk", "-F|", last, jobs, ends],
            "output": {"columns": ["id", "state", "key", "reason"], "separator": "|"},
        },
        "cancel": {"run": ["true"]},
        "states": {"running": ["RUNNING"], "succeeded": ["COMPLETED"], "failed": ["FAILED"]},
        "policy": {"poll": POLL},
    }


def let_them_end(jobs, ends) -> tuple[dict[str, float], set[str]]:
    """End every job at its time; returns when each was ended, by flow run, and which of them were young."""
    begin = time.monotonic()
    lines = jobs.read_text().splitlines()
    young = {line for number, line in enumerate(lines) if number % 2 == 0}
    due = {line: random.uniform(*(YOUNG if line in young else OLD)) for line in lines}
    ended: dict[str, float] = {}
    for line, at in sorted(due.items(), key=lambda item: item[1]):
        time.sleep(max(0.0, begin + at - time.monotonic()))
        with ends.open("a") as file:
            file.write(line.replace("RUNNING", "FAILED") + "\n")
        ended[run_of(line)] = time.time()
    return ended, {run_of(line) for line in young}


def run_of(line: str) -> str:
    return line.split("|")[2].split("-")[1]


def measure() -> list[Figure]:
    with prefect_server(sqlite=True) as server:
        from generic_worker.library.loading import load  # noqa: PLC0415 - after the server's settings
        from generic_worker.library.template import base_job_template  # noqa: PLC0415 - as above

        jobs, ends, ready = (server.home / name for name in ("jobs", "ends", "ready"))
        ends.touch()
        pool = Deployment(server, "detection", "adopting", base_job_template(load(recipe(str(jobs), str(ends)))))
        pool.running(RUNS)
        with workers(Worker(server, "detection", "adopting", str(jobs), str(ready))):
            until(ready.exists, 120)
            ended, young = let_them_end(jobs, ends)

            def crashed():
                runs = pool.read(ended)
                return runs if all(run.state.is_crashed() for run in runs) else None

            runs = until(crashed, 60, every=1)
    late = {run.id.hex: run.state.timestamp.timestamp() - ended[run.id.hex] for run in runs}
    return [
        row("a job of less than a minute", [late[run] for run in young], 2),
        row(f"an older job, poll {POLL} s,", [late[run] for run in ended if run not in young], POLL + 1),
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
