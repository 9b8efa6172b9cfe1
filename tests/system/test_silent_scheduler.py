"""A scheduler that falls silent, and workers that do: nothing is guessed, nothing is lost, nothing is done twice."""

import contextlib
import os
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

FAKES = Path(__file__).parents[1] / "fakes"


class Scheduler:
    """tests/fakes/faulty, and a recipe for it that notes each clean-up, which then fails."""

    def __init__(self, place):
        self.place = place
        self.env = {"FAULTY_DIR": str(place), "PATH": f"{FAKES}:{os.environ['PATH']}"}
        self.recipe = yaml.safe_load((FAKES / "faulty.yaml").read_text())
        for operation in ("find", "status"):  # here they answer, however late
            self.recipe[operation]["timeout"] = 60
        self.recipe["cleanup"] = {"run": f'echo "$job_key" >>{place}/cleaned; echo no broom >&2; exit 1'}

    def faults(self, text):
        (self.place / "faults").write_text(text)

    def gated(self, gate, code):
        """A job that runs until a gate opens. Of two gates, the first job waits for the first."""
        first, second = (*gate.split(), gate)[:2]
        choice = f"mkdir {self.place}/{first}-taken && gate={first} || gate={second}"
        return f"sh -c '{choice}; until [ -e {self.place}/$gate ]; do sleep 0.2; done; exit {code}'"

    def open(self, gate):
        (self.place / gate).touch()

    def _lines(self, name):
        path = self.place / name
        return path.read_text().splitlines() if path.exists() else []

    def submissions(self):
        """How often each key was submitted."""
        return Counter(line.split()[0] for line in self._lines("submissions"))

    def cleanups(self):
        """How often each key was cleaned up."""
        return Counter(self._lines("cleaned"))

    def calls(self, verb):
        """How often a command was called."""
        return sum(line.split()[1] == verb for line in self._lines("calls"))

    def processes(self, verb):
        """The processes of a command: those of `submit` are also what becomes of it, its job."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                is_ours = f"FAULTY_DIR={self.place}".encode() in (folder / "environ").read_bytes().split(b"\0")
                if is_ours and f"/faulty\0{verb}\0".encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return found

    def left(self):
        """The jobs that have not ended."""
        return [path.name for path in (self.place / "jobs").iterdir() if not (path / "ended").exists()]


@pytest.fixture
def scheduler(tmp_path):
    return Scheduler(tmp_path)


def test_a_silent_scheduler_changes_no_run_and_is_told_of_once(scheduler, make_pool, start_worker, until):
    scheduler.recipe["policy"] |= {"lost_after": 0, "lost_polls": 1}  # one guess would end a run at once
    pool = make_pool("silent", scheduler.recipe)
    with start_worker(pool.name, env=scheduler.env) as worker:
        waiting = pool.run(wait=3600)
        running = pool.run(command=scheduler.gated("late", 4))
        ending = pool.run(command=scheduler.gated("early", 5))
        until(lambda: pool.logs(ending).count("is ACTIVE.") and pool.logs(running).count("is ACTIVE."), 120)
        pool.job(waiting)  # what follows is about runs whose submission is over
        states = {run: pool.read(run).state.id for run in (waiting, running, ending)}
        scheduler.faults("list.down=1 find.down=1")
        until(lambda: "scheduler unreachable" in pool.logs(waiting), 60)
        scheduler.open("early")
        silent = scheduler.calls("list")
        until(lambda: scheduler.calls("list") >= silent + 2, 60)
        assert states == {run: pool.read(run).state.id for run in states}

        scheduler.faults("")
        assert pool.ended(ending).message == f"The faulty job {pool.job(ending).id} ended as ENDED, exit code 5."
        assert states[running] == pool.read(running).state.id
        scheduler.open("late")
        assert pool.ended(running).message.endswith("exit code 4.")
        pool.cancel(waiting)
        assert pool.ended(waiting).name == "Cancelled"
        until(lambda: "no broom" in pool.logs(waiting), 60)
        log, told = worker.log.read_text(), pool.logs(waiting)
    assert told.count("scheduler unreachable") == 1
    assert log.count("faulty: the infrastructure answers again.") == 1
    assert pool.state(waiting) == "Cancelled"
    assert set(scheduler.cleanups().values()) == {1}
    until(lambda: scheduler.left() == [], 60)


def test_a_run_that_is_cancelled_while_it_is_submitted_leaves_no_job(scheduler, make_pool, start_worker, until):
    pool = make_pool("hasty", scheduler.recipe)
    scheduler.faults("submit.mute=1")
    with start_worker(pool.name, env=scheduler.env):
        run = pool.run(command="sleep 3600")
        until(scheduler.submissions, 120)
        pool.cancel(run)
        state = pool.ended(run)
        assert state.name == "Cancelled"
        until(lambda: scheduler.left() == [], 60)
    assert list(scheduler.submissions().values()) == [1]


def test_two_workers_share_a_pool_and_one_takes_over_what_the_other_leaves(scheduler, make_pool, start_worker, until):
    pool, number = make_pool("shared", scheduler.recipe), 24
    with (
        start_worker(pool.name, "other", env=scheduler.env) as first,
        start_worker(pool.name, "another", env=scheduler.env) as second,
    ):
        runs = [pool.run(command=scheduler.gated("go", 3)) for _ in range(number)]
        until(lambda: len(scheduler.submissions()) == number, 180)
        owners = Counter(pool.read(run).labels["prefect.worker.name"] for run in runs)
        first.kill()
        first.wait()
        listed = scheduler.calls("list")
        taken = f"Took over {owners['other']} flow runs"
        until(lambda: not owners["other"] or taken in second.log.read_text(), 90)
        polls = scheduler.calls("list") - listed
        scheduler.open("go")
        states = [pool.ended(run) for run in runs]
        until(lambda: len(scheduler.cleanups()) == number, 60)
    assert {state.name for state in states} == {"Crashed"}
    assert all(state.message.endswith("exit code 3.") for state in states)
    assert set(scheduler.submissions().values()) == {1}
    assert set(scheduler.cleanups().values()) == {1}
    assert polls < 60, "a poll every two seconds"


def test_a_run_that_was_taken_over_is_seen_to_whatever_its_label_says_later(scheduler, make_pool, start_worker, until):
    """The worker that had it before was cut off, not dead, and its request to label the run is the last to come."""
    scheduler.recipe["submit"]["timeout"] = 3600  # it hangs until its worker is killed
    pool = make_pool("labelled", scheduler.recipe)
    scheduler.faults("submit.mute=1 find.down=1 list.down=1")
    with start_worker(pool.name, "before", env=scheduler.env) as before:
        run = pool.run(command=scheduler.gated("go", 3))
        until(lambda: len(scheduler.processes("submit")) == 2, 120)  # the command hangs, and has made a job
        before.kill()
        before.wait()
    until(lambda: len(scheduler.processes("submit")) == 1, 60)
    scheduler.open("go")
    with start_worker(pool.name, "after", env=scheduler.env):
        until(lambda: pool.read(run).labels["prefect.worker.name"] == "after", 120)
        pool.heartbeat("before", 3600)
        pool.label(run, "before")
        finds = scheduler.calls("find")
        until(lambda: scheduler.calls("find") > finds, 90)
        scheduler.faults("")
        assert pool.ended(run).message.endswith("exit code 3.")
    assert list(scheduler.submissions().values()) == [1]


def test_a_run_that_was_suspended_counts_on_its_new_job_and_not_on_the_old_one(
    scheduler, make_pool, start_worker, until
):
    from prefect.states import Scheduled, Suspended  # noqa: PLC0415 - after the server's settings

    pool = make_pool("suspended", scheduler.recipe)
    with start_worker(pool.name, env=scheduler.env):
        run = pool.run(command=scheduler.gated("old new", 3))
        old = pool.job(run)
        pool.set_state(run, Suspended())
        pool.set_state(run, Scheduled(name="Resuming"))
        new = until(lambda: (job := pool.job(run)) != old and job, 90)
        until(lambda: f"faulty job {new.id} is ACTIVE" in pool.logs(run), 60)

        scheduler.open("old")
        until(lambda: scheduler.cleanups()[old.key], 60)
        assert pool.state(run) == "Submitting"
        assert pool.job(run) == new
        scheduler.open("new")
        assert pool.ended(run).message == f"The faulty job {new.id} ended as ENDED, exit code 3."
        until(lambda: "cleaned=1" in pool.read(run).infrastructure_pid, 60)
    assert set(scheduler.cleanups().values()) == {1}


def test_a_job_that_waits_for_long_keeps_the_slot_of_its_run(scheduler, server, make_pool, start_worker, until):
    pool = make_pool("leased", scheduler.recipe, limit=1)
    with start_worker(pool.name, env=scheduler.env):
        first = pool.run(wait=46, command="true")  # a lease is one of 30 s here, looked after every 15 s
        pool.job(first)
        second = pool.run(command="true")
        until(lambda: pool.state(second) == "AwaitingConcurrencySlot", 60)
        while True:
            state = pool.state(second)
            if pool.read(first).state.is_final():  # the other may have been read after that
                break
            assert state == "AwaitingConcurrencySlot"
            time.sleep(0.5)
