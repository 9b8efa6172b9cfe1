"""What it costs to watch many running jobs: a worker, runs on a real server, a status command that answers from memory.

Beside it stands a worker that does nothing, at the same time.
"""

from __future__ import annotations

import json

from figures import Figure
from measure import Deployment, Worker, main, prefect_server, until, workers

SIZES, POLL = (100, 1000, 5000), 15
WAITING = 2000


def recipe(listing: str, calls: str) -> dict:
    """One status command for all jobs, as with squeue; each call of it is written down."""
    return {
        "recipe": 1,
        "name": "listing",
        "submit": {"run": ["false"], "output": {"regex": "(?P<id>.+)"}},
        "status": {
            "run": f"echo >> {calls}; exec cat {listing}",
            "output": {"columns": ["id", "state", "key", "reason"], "separator": "|"},
        },
        "cancel": {"run": ["true"]},
        "states": {"pending": ["PENDING"], "running": ["RUNNING"], "succeeded": ["COMPLETED"]},
        "policy": {"poll": POLL},
    }


def one_size(server, number: int, kind: str = "watching") -> dict[str, float]:
    """What a worker has used that has watched so many jobs for a while, or waited for them to leave their queue."""
    from generic_worker.library.loading import load  # noqa: PLC0415 - after the server's settings
    from generic_worker.library.template import base_job_template  # noqa: PLC0415 - as above

    name = f"{kind}-{number}"
    listing, calls, report = (server.home / f"{name}.{what}" for what in ("jobs", "calls", "json"))
    calls.touch()
    template = base_job_template(load(recipe(str(listing), str(calls))))
    pool, nothing = Deployment(server, name, kind, template), Deployment(server, f"beside-{number}", "noop")
    env = {"PREFECT_WORKER_QUERY_SECONDS": "10", "PREFECT_WORKER_HEARTBEAT_SECONDS": "30"}  # as Prefect has them
    idle = Worker(server, nothing.name, "noop", env=env)
    pool.running(number) if kind == "watching" else pool.pending(number)
    with workers(idle):
        worker = Worker(server, name, kind, *map(str, (listing, calls, report, idle.pid)), env=env)
        with workers(worker):
            until(report.exists, 300)
            return json.loads(report.read_text())


def measure() -> list[Figure]:
    with prefect_server(sqlite=True) as server:
        found = {number: one_size(server, number) for number in SIZES}
        waiting = one_size(server, WAITING, "waiting")
    figures = []
    for number, one in found.items():
        busy, idle, stall = one["processor"] * 100, one["idle"] * 100, one["stall"] * 1000
        figures += [
            Figure(
                f"watching {number} jobs, poll {POLL} s: status commands per minute",
                f"{one['commands']:.1f}",
                goal="the same for any number",
                met=abs(one["commands"] - found[SIZES[0]]["commands"]) < 1,
                raw=one,
            ),
            Figure(
                f"watching {number} jobs: processor time, commands included",
                f"{busy:.1f} % of a core",
                f"{idle:.1f} % for a worker that does nothing",
                "at most 3 % of a core" if number == SIZES[-1] else "",
                busy <= 3 if number == SIZES[-1] else None,
            ),
            Figure(
                f"watching {number} jobs: worst stall of the event loop",
                f"{stall:.0f} ms",
                goal="under 50 ms",
                met=stall < 50,
            ),
        ]
    figures += [
        Figure(
            f"{WAITING} jobs that wait in a queue: processor time, commands included",
            f"{waiting['processor'] * 100:.1f} % of a core",
            f"{waiting['idle'] * 100:.1f} % for a worker that does nothing",
            "at most 1 % of a core",
            waiting["processor"] <= 0.01,
            waiting,
        ),
        Figure(
            f"{WAITING} jobs that wait in a queue: requests to Prefect per minute",
            f"{waiting['requests']:.0f}",
            goal="at most 30",
            met=waiting["requests"] <= 30,
        ),
    ]
    per_job = found[SIZES[-1]]["memory"] / SIZES[-1] / 1000
    what = f"resident memory per watched job, of {SIZES[-1]}"
    return [*figures, Figure(what, f"{per_job:.1f} kB", goal="under 20 kB", met=per_job < 20)]


if __name__ == "__main__":
    main(measure)
