"""Many flow runs scheduled at once, until all are submitted; beside a worker that does nothing, which is cut short.

`burst.py [NUMBER...] [--json FILE]`, by default 300. One that was among the last is cancelled on the way.
"""

from __future__ import annotations

import re
import sys
import time

from figures import Figure
from measure import Deployment, Worker, cpu, main, prefect_server, until
from overhead import recipe

KINDS = ("generic", "noop")
PATIENCE = {"generic": 450, "noop": 150}
"""Seconds after which a worker is not waited for any more."""
MINUTES = 3
"""In which 2,000 runs are to be submitted: a goal for a machine that has nothing else to do."""


def burst(server, pool: Deployment, number: int) -> dict:
    """Let a worker meet runs that are all there already. Returns what it did with them."""
    names = pool.many(number)
    last = list(names)[-1]
    worker = Worker(server, pool.name, pool.name.partition("-")[0])
    try:
        until(worker.started, 120)
        began, used = time.monotonic(), cpu(worker.pid)[0]
        if pool.name.startswith("generic"):
            cancel(pool, last)
            del names[last]
        done, patience = 0, PATIENCE[worker.log.stem.partition("-")[0]]
        while done < len(names) and time.monotonic() - began < patience:
            time.sleep(1)
            done = len(worker.submissions(names))
        seconds, used = time.monotonic() - began, cpu(worker.pid)[0] - used
        log = worker.log.read_text(errors="replace")
    finally:
        worker.stop()
    errors = [line for line in log.splitlines() if re.search(r"\| (ERROR|CRITICAL) |Traceback", line)]
    was = pool.read([last])[0]
    return {
        "submitted": done,
        "of": len(names),
        "seconds": seconds,
        "processor": used / max(done, 1),
        "errors": len(errors),
        "first errors": errors[:3],
        "cancelled": f"{was.state.name}, {was.infrastructure_pid or 'without a job'}",
    }


def cancel(pool: Deployment, run: str) -> None:
    from prefect.states import Cancelling  # noqa: PLC0415 - after the server's settings

    pool.call(lambda client: client.set_flow_run_state(run, Cancelling()))


def measure() -> list[Figure]:
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()] or [300]
    kinds = [kind for kind in KINDS if kind in sys.argv] or KINDS
    found = []
    with prefect_server() as server:
        from generic_worker.library.loading import load  # noqa: PLC0415 - after the server's settings
        from generic_worker.library.template import base_job_template  # noqa: PLC0415 - as above

        template = base_job_template(load(recipe(str(server.home / "jobs"))))
        for number in numbers:
            here = {}
            for kind in kinds:
                pool = Deployment(server, f"{kind}-{number}", kind, template if kind == "generic" else None)
                here[kind] = burst(server, pool, number)
                print(kind, number, here[kind], file=sys.stderr, flush=True)
            found += [figure(number, here)] if "generic" in here else []
    return found


def figure(number: int, here: dict) -> Figure:
    ours, beside = here["generic"], here.get("noop")
    return Figure(
        f"{number:,} flow runs scheduled at once",
        f"{said(ours)}; one that was cancelled on the way: {ours['cancelled']}",
        f"{said(beside)}, for a worker that does nothing" if beside else "",
        f"all within {MINUTES} minutes, no error" if number <= 2000 else "",
        (ours["submitted"] == ours["of"] and not ours["errors"] and ours["seconds"] <= MINUTES * 60),
        raw=here,
    )


def said(one: dict) -> str:
    own = f"{one['processor'] * 1000:.0f} ms of processor time each"
    return f"{one['submitted']:,} submitted in {one['seconds']:.0f} s, {own}, {one['errors']} errors in the log"


if __name__ == "__main__":
    main(measure)
