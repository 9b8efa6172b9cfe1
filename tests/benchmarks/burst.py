"""Many flow runs scheduled at once, until all are submitted; beside a worker that does nothing, which is cut short.

`burst.py [NUMBER...] [generic] [noop] [holding] [--stub] [--json FILE]`, by default 300, of the first two workers. One
that was among the last is cancelled on the way.
With `--stub` the API is one that does next to nothing (`stub_api.py`): what is measured is the worker, not the server.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request

from figures import Figure
from measure import HERE, Deployment, Worker, cpu, free_port, main, memory, prefect_server, until
from overhead import recipe
from stub_api import recorded

KINDS = ("generic", "noop")
PATIENCE = {"generic": 900, "noop": 150, "holding": 300}
"""Seconds after which a worker is not waited for any more. One that only holds its runs is measured when asked for."""
MINUTES = 3
"""In which 2,000 runs are to be submitted: a goal for a machine that has nothing else to do."""


def burst(server, pool: Deployment, number: int) -> dict:
    """Let a worker meet runs that are all there already. Returns what it did with them."""
    names = pool.many(number)
    last = list(names)[-1]

    def cancel_last() -> None:
        if pool.name.startswith("generic"):
            cancel(pool, last)
            del names[last]

    found = submitted(Worker(server, pool.name, pool.name.partition("-")[0]), names, cancel_last)
    was = pool.read([last])[0]
    return {**found, "cancelled": f"{was.state.name}, {was.infrastructure_pid or 'without a job'}"}


def stub_burst(server, pool: Deployment, number: int) -> dict:
    """The same, of a stub of the API. Returns also the requests for each flow run."""
    pool.runs(1)
    known, port = server.home / f"{pool.name}.json", free_port()
    known.write_text(json.dumps(pool.call(lambda client: recorded(client, pool.name, number))))
    stub = subprocess.Popen([sys.executable, HERE / "stub_api.py", known, str(port)])
    try:
        until(lambda: answer(port, "names"), 30)
        env = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        worker = Worker(server, pool.name, pool.name.partition("-")[0], env=env)
        found = submitted(worker, answer(port, "names"), lambda: None)
        requests = answer(port, "requests")
    finally:
        stub.terminate()
        stub.wait()
    each = {name: count / number for name, count in requests.items() if count >= number / 2}
    return {**found, "requests": sum(each.values()), "which": each}


def answer(port: int, name: str) -> dict:
    """What the stub itself says; nothing while it is not there yet."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{name}") as found:
        return json.load(found)
    return {}


def submitted(worker: Worker, names: dict[str, str], begun) -> dict:
    """Wait until a worker has submitted all runs, or for as long as it is waited for; `begun()` when it has started."""
    try:
        until(worker.started, 120)
        began, used, room = time.monotonic(), cpu(worker.pid)[0], memory(worker.pid)
        begun()
        done, patience = 0, PATIENCE[worker.log.stem.partition("-")[0]]
        while done < len(names) and time.monotonic() - began < patience:
            time.sleep(1)
            done = len(worker.submissions(names))
        seconds, used = time.monotonic() - began, cpu(worker.pid)[0] - used
        room = memory(worker.pid) - room
        log = worker.log.read_text(errors="replace")
    finally:
        worker.stop()
    errors = [line for line in log.splitlines() if re.search(r"\| (ERROR|CRITICAL) |Traceback", line)]
    return {
        "submitted": done,
        "of": len(names),
        "seconds": seconds,
        "processor": used / max(done, 1),
        "memory": room / max(done, 1),
        "errors": len(errors),
        "first errors": errors[:3],
    }


def cancel(pool: Deployment, run: str) -> None:
    from prefect.states import Cancelling  # noqa: PLC0415 - after the server's settings

    pool.call(lambda client: client.set_flow_run_state(run, Cancelling()))


def measure() -> list[Figure]:
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()] or [300]
    kinds = [kind for kind in PATIENCE if kind in sys.argv] or KINDS
    found, one = [], stub_burst if "--stub" in sys.argv else burst
    with prefect_server() as server:
        from generic_worker.library.loading import load  # noqa: PLC0415 - after the server's settings
        from generic_worker.library.template import base_job_template  # noqa: PLC0415 - as above

        template = base_job_template(load(recipe(str(server.home / "jobs"))))
        for number in numbers:
            here = {}
            for kind in kinds:
                pool = Deployment(server, f"{kind}-{number}", kind, template if kind == "generic" else None)
                here[kind] = one(server, pool, number)
                print(kind, number, here[kind], file=sys.stderr, flush=True)
            found += [figure(number, here)] if "generic" in here else []
    return found


def figure(number: int, here: dict) -> Figure:
    ours, beside = here["generic"], here.get("noop")
    more = f"one that was cancelled on the way: {ours['cancelled']}" if "cancelled" in ours else "a stub of the API"
    return Figure(
        f"{number:,} flow runs scheduled at once",
        f"{said(ours)}; {more}",
        f"{said(beside)}, for a worker that does nothing" if beside else "",
        f"all within {MINUTES} minutes, no error" if number <= 2000 else "",
        (ours["submitted"] == ours["of"] and not ours["errors"] and ours["seconds"] <= MINUTES * 60),
        raw=here,
    )


def said(one: dict) -> str:
    own = f"{one['processor'] * 1000:.0f} ms of processor time and {one['memory'] / 1000:.0f} kB each"
    own += f", {one['requests']:.1f} requests each" if "requests" in one else ""
    return f"{one['submitted']:,} submitted in {one['seconds']:.0f} s, {own}, {one['errors']} errors in the log"


if __name__ == "__main__":
    main(measure)
