"""This worker beside another one for the same real scheduler: calls, processor time, memory, detection, and a kill.

Both have as many jobs at the same time, on one Prefect server. A job does nothing: it waits until it is let go, and
exits with 3; its flow run is Crashed when its worker has noticed.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from dataclasses import asdict

from figures import Figure
from measure import main, median, memory, percentile, prefect_server, until, workers
from peer_sides import Side, Usage
from peer_sites import SITES, Absent, peers

RUNS, ENDS = 100, 30
WINDOW, SPAN = 60, 15  # seconds: of watching, and in which jobs end; both are whole poll intervals of all workers
PATIENCE = 20  # seconds without news after which a worker notices no more ends: longer than all poll intervals


def submit(sides) -> None:
    before = [side.usage() for side in sides]
    for _ in range(0, RUNS, 10):
        for side in sides:
            side.submit(10)
    until(lambda: all(side.submitted() for side in sides), 240, every=0.5)
    for side, usage in zip(sides, before, strict=True):
        side.found["submitting"] = side.usage().since(usage)


def watch(sides) -> None:
    before = [side.usage() for side in sides]
    time.sleep(WINDOW)
    for side, usage in zip(sides, before, strict=True):
        side.found |= {"watching": side.usage().since(usage), "memory": memory(side.worker.pid)}


def let_some_end(sides) -> None:
    """End jobs of both workers at random times, and see when they notice."""
    picked = {side: random.sample(running := side.running(), min(ENDS, len(running))) for side in sides}
    before, begin = [side.usage() for side in sides], time.monotonic()
    due = [(begin + random.uniform(0, SPAN), side, run) for side in sides for run in picked[side]]
    for at, side, run in sorted(due, key=lambda one: one[0]):
        time.sleep(max(0.0, at - time.monotonic()))
        side.let_go(run)
    wait_until_noticed(picked)
    for side, usage in zip(sides, before, strict=True):
        late = side.noticed(picked[side])
        side.found |= {"ending": side.usage().since(usage), "ends": len(picked[side]), "late": late}


def wait_until_noticed(runs) -> None:
    """Wait until both workers have noticed the ends of jobs, or one of them does not go on noticing any."""
    noticed, news = dict.fromkeys(runs, 0), dict.fromkeys(runs, time.monotonic())
    while any(noticed[side] < len(those) and time.monotonic() < news[side] + PATIENCE for side, those in runs.items()):
        time.sleep(1)
        for side, those in runs.items():
            if (number := len(side.noticed(those))) != noticed[side]:
                noticed[side], news[side] = number, time.monotonic()


def kill_all(sides) -> None:
    """Kill both workers, start them again, end all the other jobs, and see what becomes of their flow runs."""
    rest = {side: [run for run in side.runs if not side.end(run)] for side in sides}
    for side in sides:
        side.kill_and_start()
    until(lambda: all(side.worker.started() for side in sides), 60)
    until(lambda: all_ended(rest), 120)
    wait_until_noticed(rest)
    for side, runs in rest.items():
        side.found |= {"left": len(runs), "taken": side.noticed(runs), "states": side.states(runs)}


def all_ended(runs) -> bool:
    """Let those jobs go that run; whether all have ended."""
    left = [(side, run) for side, those in runs.items() for run in those if not side.end(run)]
    for side, run in left:
        side.let_go(run)
    return not left


def one_site(server, site, python) -> list[Figure]:
    with contextlib.ExitStack() as stack:
        stack.callback(site.clean, server.home)
        kinds = {"generic": sys.executable, site.kind: python}
        sides = [Side(server, site, kind, path, stack) for kind, path in kinds.items()]
        stack.enter_context(workers(*(side.worker for side in sides)))
        stack.callback(site.clean, server.home)  # before the workers are stopped, too: one waits for its jobs then
        time.sleep(3)  # what a worker does at its start is none of this
        submit(sides)
        watch(sides)
        let_some_end(sides)
        kill_all(sides)
    return figures(site, sides)


def figures(site, sides) -> list[Figure]:
    """The rows of one scheduler."""
    ours, theirs = (side.found for side in sides)
    raw = {site.kind: plain(theirs), "generic": plain(ours)}

    def row(what: str, form, **more) -> Figure:
        return Figure(f"{site.name}, {what}", form(ours), f"{form(theirs)} for `{site.peer}`", **more)

    busy, survived = f"{RUNS} jobs in flight", len(ours["taken"]) == ours["left"]
    return [
        row(f"{busy}: {site.sent} per minute", lambda found: f"{found['watching'].sent * 60 / WINDOW:.0f}", raw=raw),
        row(f"{site.sent} per run: while it is submitted, and more at its end", sent),
        row("processor time per run, commands included: while it is submitted, and more at its end", processor),
        row(f"{busy}: processor time, commands included", share),
        row(f"{busy}: resident memory", lambda found: f"{found['memory'] / 2**20:.0f} MiB"),
        row(f"from the end of a job to the Crashed flow run, {site.polls}", detection),
        row(
            "killed with jobs in flight and started again: flow runs that end as their jobs",
            survival,
            goal="all",
            met=survived,
        ),
    ]


def plain(found: dict) -> dict:
    return {name: asdict(one) if isinstance(one, Usage) else one for name, one in found.items()}


def per_run(found: dict, name: str) -> tuple[float, float]:
    """What a run takes while it is submitted, and what its end takes more than watching does."""
    begun, watching, over = (found[phase] for phase in ("submitting", "watching", "ending"))
    more = getattr(over, name) - getattr(watching, name) / watching.seconds * over.seconds
    return getattr(begun, name) / RUNS, max(0.0, more) / found["ends"]


def sent(found: dict) -> str:
    begun, over = per_run(found, "sent")
    return f"{begun:.1f}, {over:.1f}"


def processor(found: dict) -> str:
    begun, over = per_run(found, "processor")
    return f"{begun * 1000:.0f} ms, {over * 1000:.0f} ms"


def share(found: dict) -> str:
    return f"{found['watching'].processor / found['watching'].seconds * 100:.1f} % of a core"


def detection(found: dict) -> str:
    late, missed = found["late"], found["ends"] - len(found["late"])
    times = f"median {median(late):.1f} s, 95 % within {percentile(late, 0.95):.1f} s" if late else "never"
    return f"{times}; {missed} of {found['ends']} not noticed" if missed else times


def survival(found: dict) -> str:
    others = (f"; {number} still {name}" for name, number in found["states"].items() if name != "Crashed")
    return f"{len(found['taken'])} of {found['left']}" + "".join(others)


def measure() -> list[Figure]:
    found, absent = [], []
    for site in SITES:
        try:
            found.append(site())
        except Absent as reason:
            absent.append(Figure(f"{site.name}, beside `{site.peer}`", f"not measured: {reason}"))
    if not found:
        return absent
    with peers() as ready, prefect_server() as server:
        try:
            python = ready()
        except Absent as reason:
            return [Figure(f"{site.name}, beside `{site.peer}`", f"not measured: {reason}") for site in SITES]
        return [*(figure for site in found for figure in one_site(server, site, python)), *absent]


if __name__ == "__main__":
    main(measure)
