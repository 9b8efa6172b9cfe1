"""Whatever the API answers, all the time: one worker's process serves on, and its figures say what has happened.

A proxy in front of the API fails in every way that it knows, in turns, while flow runs begin, end and are cancelled on
a scheduler that fails too. Say for how long with $CHAOS_SECONDS (60), and how many runs with $CHAOS_RUNS (16).
"""

import os
import random
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from fault_proxy import HTML, Fault
from prometheus_client.parser import text_string_to_metric_families

SECONDS = int(os.environ.get("CHAOS_SECONDS", "60"))
RUNS = int(os.environ.get("CHAOS_RUNS", "16"))
KINDS = ["fails", "fails", "cancelled", "killed"]
HTML_PAGE = {"body": HTML, "headers": {"content-type": "text/html"}}
FAULTS = {
    "400s": [{"status": 401}, {"status": 403}, {"status": 429, "headers": {"retry-after": "1"}}],
    "500s": [{"status": 500}, {"status": 502, "done": True}, {"status": 503}],
    "pages": [{"status": 200, **HTML_PAGE}, {"status": 200, "done": True, **HTML_PAGE}, {"status": 502, **HTML_PAGE}],
    "broken": [{"cut": True}, {"drop": True}, {"drop": True, "done": True}],
    "slow": [{"delay": 3}, {"delay": 8}],
}


def plague(proxy, dice, stop, had):
    """One fault after the other, with as much peace between them, until it is time to stop."""
    kinds = [(name, fault) for name, faults in FAULTS.items() for fault in faults]
    dice.shuffle(kinds)
    while not stop.is_set():
        name, fault = kinds[sum(had.values()) % len(kinds)]
        had[name] += 1
        proxy.add(Fault(**fault))
        if dice.random() < 0.5:
            proxy.break_all()
        stop.wait(dice.uniform(1, 4))
        proxy.mend()
        stop.wait(dice.uniform(1, 3))


class Figures:
    """What a worker tells Prometheus."""

    def __init__(self, port):
        self._url = f"http://127.0.0.1:{port}/metrics"

    def read(self):
        with urllib.request.urlopen(self._url, timeout=10) as answer:
            self._found = list(text_string_to_metric_families(answer.read().decode()))

    def sum(self, name, **labels):
        samples = [one for family in self._found for one in family.samples if one.name == f"generic_worker_{name}"]
        return sum(one.value for one in samples if labels.items() <= one.labels.items())


@pytest.mark.timeout(900)
def test_a_worker_serves_on_through_every_answer_and_counts_what_happens(
    make_pool, start_worker, api_proxy, faulty, free_port, until, seed
):
    dice, port, pool = random.Random(seed), free_port(), make_pool("bad-api", faulty.recipe)
    figures, had, stop = Figures(port), Counter(), threading.Event()
    env = {**faulty.env, "PREFECT_API_URL": api_proxy.url}
    env |= {"PREFECT_CLIENT_METRICS_ENABLED": "true", "PREFECT_CLIENT_METRICS_PORT": str(port)}
    runs, asked = {}, []
    with start_worker(pool.name, env=env) as worker:
        until(lambda: figures.read() is None, 90)
        plagued = threading.Thread(target=plague, args=(api_proxy, dice, stop, had))
        plagued.start()
        begun = time.monotonic()
        while time.monotonic() < begun + SECONDS:
            if len(runs) < RUNS:
                kind = KINDS[len(runs) % len(KINDS)]
                command = f"sh -c 'sleep {3600 if kind in {'cancelled', 'killed'} else dice.randint(1, 9)}; exit 3'"
                runs[pool.run(command=command)] = kind
            figures.read()
            asked.append(figures.sum("submissions_total"))
            time.sleep(SECONDS / 2 / RUNS)
        for run, kind in runs.items():
            if kind == "cancelled":
                pool.cancel(run)
            elif kind == "killed":
                job = pool.job(run, 200).id
                until(lambda job=job: (Path(faulty.place) / "jobs" / job / "pid").exists(), 100)
                faulty.kill(job)
        time.sleep(SECONDS / 3)
        stop.set()
        plagued.join()
        ended = {run: pool.ended(run, 300) for run in runs}
        until(lambda: figures.read() is None and figures.sum("jobs") == 0, 120)
        log = worker.log.read_text()
        assert worker.poll() is None, log[-3000:]

    print(f"CHAOS_SEED={seed}: {sum(had.values())} faults {dict(had)}, figures {asked[::10]}")
    right = {"cancelled": "Cancelled", "fails": "Crashed", "killed": "Crashed"}
    jobs = faulty.jobs()
    assert {run: (kind, ended[run].message) for run, kind in runs.items() if ended[run].name != right[kind]} == {}
    assert {key: ids for key, ids in jobs.items() if len(ids) > 1} == {}
    assert faulty.left() == []
    submitted, unknown = (figures.sum("submissions_total", outcome=one) for one in ("submitted", "unknown"))
    assert submitted <= len(jobs) <= submitted + unknown
    assert asked == sorted(asked)
    reported = figures.sum("report_seconds_count")
    assert 0 < reported <= len(runs), "a report whose answer was lost is not counted"
    calls = Counter(line.split()[1] for line in (faulty.place / "calls").read_text().splitlines())
    for verb, operation in {"submit": "submit", "find": "find", "list": "status"}.items():
        assert figures.sum("command_seconds_count", operation=operation) == calls[verb]
