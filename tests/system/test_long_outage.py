"""The API is away for long while flow runs are in every phase: the same worker serves on, none is lost or doubled.

$OUTAGE_SECONDS says for how long: 15, and 1800 for half an hour.
"""

import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

FAKES = Path(__file__).parents[1] / "fakes"
SECONDS = int(os.environ.get("OUTAGE_SECONDS", "15"))
EACH = 6
PHASES = {
    "waits, and begins during it": ({"wait": SECONDS / 2, "command": "sh -c 'exit 3'"}, "exit code 3."),
    "ends during it": ({"command": f"sh -c 'sleep {SECONDS / 2}; exit 4'"}, "exit code 4."),
    "outlasts it": ({"command": f"sh -c 'sleep {SECONDS + 40}; exit 5'"}, "exit code 5."),
    # after five minutes Prefect itself calls them Cancelled, in its own words; their jobs are ended all the same
    "is cancelled just before it": ({"wait": 7200}, "ancel"),
    "is cancelled during it": ({"wait": 7200}, "ancel"),
    "is submitted as it begins": ({"command": "sh -c 'exit 6'"}, "exit code 6."),
    "is scheduled during it": ({"command": "sh -c 'exit 7'"}, "exit code 7."),
}


@pytest.mark.timeout(SECONDS + 900)
def test_flow_runs_of_every_phase_end_as_their_jobs_did(make_pool, start_worker, api_proxy, until, tmp_path):
    pool = make_pool("long-outage", yaml.safe_load((FAKES / "faulty.yaml").read_text()))
    env = {"PREFECT_API_URL": api_proxy.url, "FAULTY_DIR": str(tmp_path), "PATH": f"{FAKES}:{os.environ['PATH']}"}
    runs = {}

    def begin(*phases):
        for phase in phases:
            runs[phase] = [pool.run(**PHASES[phase][0]) for _ in range(EACH)]

    def cancel(phase):
        for run in runs[phase]:
            pool.cancel(run)

    with start_worker(pool.name, env=env) as worker:
        begin("is cancelled just before it", "is cancelled during it", "outlasts it")
        for run in (run for phase in runs for run in runs[phase]):
            pool.job(run, 120)
        flow = pool.run({"seconds": SECONDS + 40}, command=f"{sys.executable} -m prefect flow-run execute")
        until(lambda: pool.state(flow) == "Running", 120)
        begin("waits, and begins during it", "ends during it")
        for run in runs["waits, and begins during it"] + runs["ends during it"]:
            pool.job(run, 120)  # one that is submitted afterwards would wait as long from then on
        begin("is submitted as it begins")
        cancel("is cancelled just before it")
        api_proxy.cut_off()
        away = time.monotonic()
        cancel("is cancelled during it")
        begin("is scheduled during it")
        until(lambda: time.monotonic() > away + SECONDS, SECONDS + 60)
        api_proxy.mend()
        back = time.monotonic()
        ended = {run: pool.ended(run, 200) for phase in runs for run in runs[phase] if phase != "outlasts it"}
        print(f"after {SECONDS} s all had ended and were reported {time.monotonic() - back:.0f} s later")
        ended |= {run: pool.ended(run, 200) for run in runs["outlasts it"]}
        assert worker.poll() is None
        assert pool.ended(flow).name == "Completed"

    wrong = [
        (phase, ended[run].name, ended[run].message)
        for phase, (_, words) in PHASES.items()
        for run in runs[phase]
        if words not in ended[run].message or ended[run].name != ("Cancelled" if "ancel" in words else "Crashed")
    ]
    keys = Counter(line.split()[0] for line in (tmp_path / "submissions").read_text().splitlines())
    assert wrong == []
    assert {key: number for key, number in keys.items() if number > 1} == {}
    # a flow says itself that it has ended, and its process ends after that
    until(lambda: all((job / "ended").exists() for job in (tmp_path / "jobs").iterdir()), 60)
