"""What this worker adds to what Prefect itself costs: per flow run from polled to submitted, and while it runs."""

from __future__ import annotations

import time

from commands import per_command
from figures import Figure
from measure import Deployment, Worker, cpu, main, median, prefect_server, workers

ROUNDS, RUNS, WINDOW = 4, 12, 5.0


def recipe(file: str) -> dict:
    """The bundled recipe `slurm`, with its size and its job script, over a scheduler that answers from a file."""
    return {
        "recipe": 1,
        "name": "benchmark",
        "extends": "slurm",
        "requires": None,
        "submit": {
            "run": ["tee", "-a", file],
            "stdin": "${job_key}|RUNNING|None|${job_key}\n",
            "output": {"regex": r"^(?P<id>[^|\n]+)\|"},
        },
        "status": {
            "run": ["cat", file],
            "output": {"columns": ["id", "state", "reason", "key"], "separator": "|"},
        },
        "find": None,
        "explain": None,
        "logs": None,
        "cancel": {"run": ["true"]},
    }


def measure() -> list[Figure]:
    with prefect_server() as server:
        from generic_worker.library.loading import load  # noqa: PLC0415 - after the server's settings
        from generic_worker.library.template import base_job_template  # noqa: PLC0415 - as above

        template = base_job_template(load(recipe(str(server.home / "jobs"))))
        pools = {kind: Deployment(server, kind, kind, template if kind == "generic" else None) for kind in KINDS}
        started = {kind: Worker(server, kind, kind) for kind in KINDS}
        with workers(*started.values()):
            costs = {kind: [] for kind in KINDS}
            idle = {kind: [] for kind in KINDS}
            walls = {kind: [] for kind in KINDS}
            time.sleep(5)
            warm(pools, started)
            for number in range(ROUNDS * len(KINDS)):
                busy = KINDS[number % len(KINDS)]
                one_round(pools, started, busy, costs, idle, walls)
    return figures(costs, idle, walls)


KINDS = ("noop", "generic")


def warm(pools, started) -> None:
    for kind, pool in pools.items():
        names = pool.runs(RUNS)
        wait_for(started[kind], names)


def wait_for(worker, names) -> list[float]:
    deadline = time.monotonic() + 120
    while len(found := worker.submissions(names)) < len(names):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(found)} of {len(names)} flow runs were submitted, see {worker.log}")
        time.sleep(0.2)
    return found


def one_round(pools, started, busy, costs, idle, walls) -> None:
    """Give runs to one worker; what the others take meanwhile is what it takes them to be there."""
    before = {kind: cpu(worker.pid) for kind, worker in started.items()}
    begin = time.monotonic()
    names = pools[busy].runs(RUNS)
    walls[busy] += wait_for(started[busy], names)
    time.sleep(max(0.5, WINDOW - (time.monotonic() - begin)))
    seconds = time.monotonic() - begin
    for kind, worker in started.items():
        spent = [now - was for now, was in zip(cpu(worker.pid), before[kind], strict=True)]
        if kind == busy:
            costs[kind].append((seconds, *spent))
        else:
            idle[kind].append((spent[0] / seconds, spent[1] / seconds))


def figures(costs, idle, walls) -> list[Figure]:
    own, children = {}, {}
    for kind in KINDS:
        rates = [median(column) for column in zip(*idle[kind], strict=True)]
        own[kind] = median((spent - seconds * rates[0]) / RUNS for seconds, spent, _ in costs[kind]) * 1000
        children[kind] = median((spent - seconds * rates[1]) / RUNS for seconds, _, spent in costs[kind]) * 1000
    command = per_command(300)
    rest = own["generic"] + children["generic"] - command["own"] - command["children"]
    wall = {kind: median(walls[kind]) for kind in KINDS}
    ratio = rest / own["noop"]
    return [
        Figure(
            "processor time per flow run, from polled to submitted, without its one command",
            f"{rest:.0f} ms",
            f"{own['noop']:.0f} ms for a worker that does nothing: {ratio:.2f} times",
            "at most 1.3 times",
            ratio <= 1.3,
            {"own": own, "children": children, "command": command},
        ),
        Figure(
            "its command's share (start, submission, end)",
            f"{command['own'] + command['children']:.0f} ms",
        ),
        Figure(
            f"time from polled to submitted, {RUNS} runs at once, median",
            f"{wall['generic']:.2f} s",
            f"{wall['noop']:.2f} s for a worker that does nothing",
            raw=wall,
        ),
    ]


if __name__ == "__main__":
    main(measure)
