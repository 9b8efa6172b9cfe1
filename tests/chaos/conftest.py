"""The two schedulers on which everything goes wrong: how their jobs are seen and killed, and how they fall silent."""

import os
import signal
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

FAKES, SUPPORT = Path(__file__).parents[1] / "fakes", Path(__file__).parents[1] / "support"
FAULTS = """
submit.slow=.05 submit.hang=.04 submit.down=.1 submit.lost=.1 submit.mute=.05 submit.empty=.05 submit.garbage=.05
submit.odd=.1
list.slow=.1 list.hang=.05 list.down=.05 list.empty=.02 list.garbage=.05 list.cut=.05 list.flood=.01 list.strange=.05
find.slow=.1 find.hang=.05 find.down=.1 find.garbage=.05
cancel.slow=.1 cancel.hang=.05 cancel.down=.1 cancel.lost=.1 cancel.mute=.05 cancel.garbage=.05
list.unseen=2
"""


class Site:
    """A scheduler."""

    def left_at_last(self):
        """The jobs that do not end within a minute. A flow reports its end before its job has ended."""
        deadline = time.monotonic() + 60
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(1)
        return left


class Faulty(Site):
    """tests/fakes/faulty, which fails at random all the time. While it is down, it answers nothing at all."""

    name = "faulty"

    def __init__(self, place, seed):
        self.place, self.variables, self.waiting = place, {}, {"wait": 3600}
        self.env = {"FAULTY_DIR": str(place), "FAULTY_SEED": str(seed), "PATH": f"{FAKES}:{os.environ['PATH']}"}
        self.recipe = yaml.safe_load((FAKES / "faulty.yaml").read_text())
        self.up()

    def down(self):
        (self.place / "faults").write_text("submit.down=1 list.down=1 find.down=1 cancel.down=1")

    def up(self):
        (self.place / "faults").write_text(FAULTS)

    def kill(self, job_id):
        """Kill a running job behind the worker's back."""
        os.killpg(int((self.place / "jobs" / job_id / "pid").read_text()), signal.SIGKILL)

    def jobs(self):
        """The ids of all the jobs that there ever were, by key."""
        found = defaultdict(set)
        for line in (self.place / "submissions").read_text().splitlines():
            key, job_id = line.split()
            found[key].add(job_id)
        return found

    def left(self):
        """The jobs that have not ended."""
        return [path.name for path in (self.place / "jobs").iterdir() if not (path / "ended").exists()]


class Slurm(Site):
    """The real Slurm of $SLURM_CONF. Its controller is stopped and started again, or freezes; in turns."""

    name = "slurm"

    def __init__(self, place):
        self.env, self.variables = {}, {"working_dir": str(place)}
        self.waiting = {"sbatch_options": ["--begin=now+1hour"]}
        policy = {"poll": 3, "lost_after": 15, "grace": 5}
        self.recipe = {"recipe": 1, "name": "chaos", "extends": "slurm", "policy": policy}
        self.pid, self.frozen, self.known = 0, False, defaultdict(set)
        self.others = set(self._squeue("--states=all", "--format=%i"))  # other tests' jobs

    def _squeue(self, *options):
        command = ["squeue", "--me", "--noheader", *options]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()

    def down(self):
        pid_file = Path(os.environ["SLURM_CONF"]).parent / "run" / "slurmctld.pid"
        self.pid, self.frozen = int(pid_file.read_text()), not self.frozen
        os.kill(self.pid, signal.SIGSTOP if self.frozen else signal.SIGTERM)

    def up(self):
        if self.frozen:
            os.kill(self.pid, signal.SIGCONT)
            return
        command_line = Path(f"/proc/{self.pid}/cmdline")
        while command_line.exists() and command_line.read_bytes():
            time.sleep(0.1)
        subprocess.run(["slurmctld"], check=True, timeout=60)

    def kill(self, job_id):
        subprocess.run(["scancel", job_id], capture_output=True, check=True, timeout=20)

    def jobs(self):
        """The ids of all its jobs that were seen so far, by key. Slurm forgets them five minutes after their end."""
        for job in self._squeue("--states=all", "--format=%i|%k"):
            job_id, _, key = job.partition("|")
            if key.startswith("pf-") and job_id not in self.others:
                self.known[key].add(job_id)
        return self.known

    def left(self):
        return set(self._squeue("--format=%i")) - self.others


@pytest.fixture
def seed():
    """What all that is random follows from: $CHAOS_SEED, or something new."""
    return int(os.environ.get("CHAOS_SEED") or time.time())


@pytest.fixture
def sites(tmp_path, seed):
    """The schedulers that $CHAOS_ON names; by default both."""
    wanted = os.environ.get("CHAOS_ON", "faulty slurm").split()
    if "slurm" in wanted and "SLURM_CONF" not in os.environ:
        pytest.fail("There is no $SLURM_CONF: start Slurm as CONTRIBUTING.md says and source its env.sh.")
    found = []
    for name in wanted:
        place = tmp_path / name
        place.mkdir()
        found.append(Faulty(place, seed) if name == "faulty" else Slurm(place))
    return found


@pytest.fixture(scope="session")
def ahead(tmp_path_factory):
    """The environment of a process on a host whose clock is ahead: ahead(minutes)."""
    source, built = SUPPORT / "other_clock.c", tmp_path_factory.mktemp("clock") / "other_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", built, source, "-ldl"], check=True, timeout=60)
    return lambda minutes: {"LD_PRELOAD": str(built), "OTHER_CLOCK": str(60 * minutes)} if minutes else {}


@pytest.fixture
def faulty(tmp_path, seed):
    """The scheduler of which everything is known: what it was asked, what it answered, what jobs there were."""
    place = tmp_path / "faulty"
    place.mkdir()
    return Faulty(place, seed)
