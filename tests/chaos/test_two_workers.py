"""Two workers on one pool: one goes away and comes back, and still each flow run has one job, and ends once.

Each scenario has $CHAOS_RUNS flow runs on each scheduler (15), and goes by $CHAOS_SEED; on one scheduler with
$CHAOS_ON=slurm or faulty. The schedulers are those of test_chaos.py, with all their faults.
"""

import contextlib
import contextvars
import os
import random
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import Fault, FaultProxy

RUNS = int(os.environ.get("CHAOS_RUNS", "15"))
KINDS = ["fails", "fails", "fails", "fails", "flow"]
JOB = Path(__file__).parent / "job.sh"
AWAY, SETTLES, SPREAD = 100, 25, 6
"""Seconds for which a worker is away, long enough for the other to do its work; and to see what it does then."""
HEARTBEAT = {"PREFECT_WORKER_HEARTBEAT_SECONDS": "2"}


@dataclass
class Stage:
    """One pool on one scheduler, its two workers, and its flow runs."""

    site: Any
    pool: Any
    notes: Path
    server: Any
    proxies: list
    names: tuple
    hosts: list
    start_worker: Any
    stack: Any
    workers: list = field(default_factory=list)
    runs: dict = field(default_factory=dict)

    def start(self, number):
        """Start a worker. Its API is slow, so that what happens to it meets runs in every phase."""
        self.proxies[number].add(Fault(delay=0.4, path="/(deployments|flows|flow_runs)/"))
        env = {**self.site.env, **HEARTBEAT, **self.hosts[number], "PREFECT_API_URL": self.proxies[number].url}
        worker = self.start_worker(self.pool.name, self.names[number], env=env)
        self.workers.append(self.stack.enter_context(worker))

    def picked_up(self):
        """Whether the first run is some worker's."""
        return any(call.path.endswith("/set_state") for call in self.proxies[0].calls)

    def create_runs(self, dice, runs=RUNS, pause=0.0):
        for number in range(runs):
            time.sleep(pause)
            kind = KINDS[number % len(KINDS)]
            code = "flow" if kind == "flow" else "3"
            command = f"sh {JOB} {self.notes} {code} {dice.randint(1, 4)} {sys.executable}"
            direct = {"PREFECT_API_URL": self.server.env["PREFECT_API_URL"]}
            run = self.pool.run({"seconds": 1}, command=command, env=direct, **self.site.variables)
            self.runs[run] = kind

    def verdicts(self):
        """What is wrong with each run; empty if nothing is."""
        return {run: "; ".join(self._faults(run, kind)) for run, kind in self.runs.items()}

    def _faults(self, run, kind):
        states = self.pool.history(run)
        names = " ".join(state.name for state in states)
        starts = self._starts(run)
        if starts != 1:
            yield f"was started {starts} times: {names}"
        if states[-1].name != ("Completed" if kind == "flow" else "Crashed"):
            yield f"is {states[-1].name}: {names}"
        elif kind == "fails" and not states[-1].message.endswith("exit code 3."):
            yield f"does not say exit code 3: {states[-1].message}"
        if any(state.is_final() for state in states[:-1]):
            yield f"a state follows a final one: {names}"

    def _starts(self, run):
        path = self.notes / str(run)
        return sum(line.startswith("start") for line in path.read_text().splitlines()) if path.exists() else 0

    def all_ended(self):
        return all(self.pool.read(run).state.is_final() for run in list(self.runs))


def stopped(stage):
    """A host that sleeps, or a process that is stopped."""
    stage.workers[0].send_signal(signal.SIGSTOP)
    time.sleep(AWAY)
    stage.workers[0].send_signal(signal.SIGCONT)


def cut_off(stage):
    """A network that is down for one of the two."""
    stage.proxies[0].cut_off()
    time.sleep(AWAY)
    stage.proxies[0].mend()


def refused(stage):
    """An API that answers 503 to one of the two."""
    stage.proxies[0].add(Fault(status=503))
    stage.proxies[0].break_all()
    time.sleep(AWAY)
    stage.proxies[0].mend()


def without_api(stage):
    """An API that nobody reaches."""
    for proxy in stage.proxies:
        proxy.cut_off()
    time.sleep(AWAY)
    for proxy in stage.proxies:
        proxy.mend()


def nothing(_stage):
    """Nothing happens."""
    time.sleep(AWAY / 2)


SCENARIOS = {  # what happens; the names of the two workers; the minutes by which their hosts' clocks are ahead
    "stopped": (stopped, ("a", "b"), (0, 0)),
    "cut-off": (cut_off, ("a", "b"), (0, 0)),
    "refused": (refused, ("a", "b"), (0, 0)),
    "without-api": (without_api, ("a", "b"), (0, 0)),
    "same-name": (nothing, ("w", "w"), (0, 0)),
    "clocks-apart": (stopped, ("a", "b"), (20, -20)),
}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_workers_run_each_flow_run_once(
    server, make_pool, start_worker, sites, seed, tmp_path, capsys, until, ahead, scenario
):
    happens, names, minutes = SCENARIOS[scenario]
    hosts = [ahead(number) for number in minutes]
    dice = random.Random(f"{seed} {scenario}")
    stages = []
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as threads:
        for site in sites:
            notes = tmp_path / f"notes-{site.name}"
            notes.mkdir()
            pool = make_pool(f"{scenario}-{site.name}-{seed}", site.recipe)
            proxies = [stack.enter_context(FaultProxy(server.port)) for _ in names]
            stages.append(Stage(site, pool, notes, server, proxies, names, hosts, start_worker, stack))
        context = contextvars.copy_context()  # it holds Prefect's settings
        list(threads.map(lambda stage: context.copy().run(stage.create_runs, dice), stages))
        for stage in stages:
            stage.start(0)
        until(lambda: all(stage.picked_up() for stage in stages), 60)
        time.sleep(dice.uniform(0, SPREAD))
        happening = [threads.submit(happens, stage) for stage in stages]
        for stage in stages:
            stage.start(1)
        for future in happening:
            future.result()
        with contextlib.suppress(AssertionError):
            until(lambda: all(stage.all_ended() for stage in stages), 240, 2)
        time.sleep(SETTLES)
        jobs = {stage.site.name: stage.site.jobs() for stage in stages}
        alive = [worker.poll() for stage in stages for worker in stage.workers]
        left = {stage.site.name: stage.site.left() for stage in stages}

    judge(stages, jobs, left, f"{scenario}: CHAOS_SEED={seed} CHAOS_RUNS={RUNS}", capsys)
    assert alive == [None] * len(alive)


def judge(stages, jobs, left, title, capsys):
    """Print what became of the runs, and fail if anything was lost, doubled, wrong or left."""
    doubled = {key: sorted(ids) for found in jobs.values() for key, ids in found.items() if len(ids) > 1}
    wrong = {}
    with capsys.disabled():
        print(f"\n{title}")
        for stage in stages:
            verdicts = stage.verdicts()
            wrong |= {run: text for run, text in verdicts.items() if text}
            print(f"  {stage.site.name:7} {Counter(text or 'right' for text in verdicts.values())}")
        print(f"  keys with more than one job: {doubled or 'none'}, left: {left}")
    assert wrong == {}
    assert doubled == {}
    assert not any(left.values())


@pytest.mark.timeout(900)
def test_a_rolling_upgrade_loses_and_doubles_nothing(
    server, make_pool, start_worker, sites, seed, tmp_path, capsys, until
):
    """Five times a worker starts and the one before it stops, while flow runs are being scheduled."""
    dice, number = random.Random(f"{seed} upgrade"), int(os.environ.get("CHAOS_RUNS", "50"))
    names, stages = [f"w{release}" for release in range(6)], []
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as threads:
        for site in sites:
            notes = tmp_path / f"notes-{site.name}"
            notes.mkdir()
            pool = make_pool(f"upgrade-{site.name}-{seed}", site.recipe)
            proxies = [stack.enter_context(FaultProxy(server.port)) for _ in names]
            stages.append(Stage(site, pool, notes, server, proxies, names, [{}] * 6, start_worker, stack))
        context = contextvars.copy_context()  # it holds Prefect's settings
        scheduling = [
            threads.submit(context.copy().run, stage.create_runs, dice, number, 50 / number) for stage in stages
        ]
        for release in range(6):
            for stage in stages:
                stage.start(release)
            until(lambda release=release: all(stage.proxies[release].calls for stage in stages), 90)
            time.sleep(dice.uniform(0, SPREAD))
            for stage in stages if release else []:
                stage.workers[release - 1].terminate()
                stage.workers[release - 1].wait(60)
        for future in scheduling:
            future.result()
        with contextlib.suppress(AssertionError):
            until(lambda: all(stage.all_ended() for stage in stages), 240, 2)
        jobs = {stage.site.name: stage.site.jobs() for stage in stages}
        left = {stage.site.name: stage.site.left_at_last() for stage in stages}
    judge(stages, jobs, left, f"upgrade: CHAOS_SEED={seed} CHAOS_RUNS={number}", capsys)
