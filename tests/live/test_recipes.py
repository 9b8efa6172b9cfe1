"""One list of scenarios for every backend: what a bundled recipe promises, against the real thing.

A driver and a watcher, no Prefect: jobs are sleeps and a few lines of Python. A backend is a row in `BACKENDS`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from generic_worker.commands.rendering import job_values
from generic_worker.commands.runner import CommandRunner
from generic_worker.job import Job, JobState, JobStatus
from generic_worker.jobs.cancellation import end_job
from generic_worker.jobs.directory import prepare_directory
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from generic_worker.commands.runner import Command, CommandResult
    from generic_worker.jobs.watches import Watch

PYTHON = "/usr/bin/python3"
SCRIPTS = Path(__file__).parent / "backends"
HOST_FOLDERS = [f"/{name}:/{name}:ro" for name in ("usr", "lib", "lib64", "bin", "etc")]
SOON = 120


@dataclass(frozen=True)
class Backend:
    """How to try a recipe here.

    Attributes:
        service: The start script of what it needs, and the folder of that.
        recipe: The recipe, where it is not called as its row in the table.
        variables: Values of the recipe's variables; `{tmp}` is a directory for the test.
        waiting: Further ones for a job that waits in the queue.
        unknown: An id that no job has.
        kill: The command that kills a job from outside; where it is empty, the test kills its process.
        patient: Further ones for a job that has time to end itself, where a variable says how much.
        limit: Further ones for a job that is soon over a limit of the scheduler's own, of its time or its memory.
        down: Environment of a client that does not reach its service; where it is empty, the service is stopped.
        terminates: Whether cancelling begins with a SIGTERM.
        forgets: Whether the last step of cancelling removes the job, so that its end may not be seen.
        here: Whether its jobs are processes of this host's kernel, and it promises that none of them is left.
        largest: Characters that one value of the environment may have.
        many: How many jobs are many: fewer where each command takes a second.
        lasts: Seconds that a job sleeps which is to be there for as long as a test takes, and is ended after it.
    """

    service: str = ""
    variables: dict[str, Any] = field(default_factory=dict)
    waiting: dict[str, Any] = field(default_factory=dict)
    patient: dict[str, Any] = field(default_factory=dict)
    limit: dict[str, Any] = field(default_factory=dict)
    unknown: str = "999999"
    kill: tuple[str, ...] = ()
    down: dict[str, str] = field(default_factory=dict)
    terminates: bool = True
    forgets: bool = False
    many: int = 20
    here: bool = True
    largest: int = 90_000
    recipe: str = ""
    lasts: int = 300


SLURM = Backend("slurm", {"output_file": "{tmp}/%j"}, waiting={"sbatch_options": ["--hold"]}, recipe="slurm")
BACKENDS = {
    "process": Backend(unknown="1-1-1"),
    "slurm": replace(SLURM, limit={"time_limit": "0:01"}),  # it counts whole minutes
    "slurm-24.11": replace(SLURM, service="slurm-24.11"),
    "htcondor": Backend("htcondor", waiting={"submit_commands": ["hold = true"]}),
    "task-spooler": Backend(
        "task-spooler", waiting={"slots": 1000}, unknown="pf-unknown", down={"TS_SOCKET": "/dev/null/socket"}
    ),
    "ssh": Backend(
        "sshd",
        {
            "host": "testhost",
            "ssh_options": ["-F", "$GENERIC_WORKER_TEST_SSH_CONFIG"],
            "directory": "{tmp}/jobs",
        },
        unknown="1-1-1",
    ),
    "docker": Backend(
        "dockerd",
        {"image": "hostfs", "network": "host", "volumes": [*HOST_FOLDERS, "{tmp}:{tmp}"], "image_pull_policy": "never"},
        unknown=64 * "0",
        limit={"memory": "100m"},
        kill=("docker", "kill", "{id}"),
    ),
    "systemd": Backend("systemd-user", limit={"time_limit": "3"}, unknown="pf-unknown.service"),
    "podman": Backend(
        "podman",
        {
            "image": "localhost/busybox",
            "network": "host",
            "volumes": [*HOST_FOLDERS[:3], "{tmp}:{tmp}"],
            "image_pull_policy": "never",
        },
        unknown=64 * "0",
        kill=("podman", "kill", "{id}"),
    ),
    # a stand-in, in tests/fakes, where there is no PBS: it is in no package
    "pbs": Backend(
        "pbs",
        {"output_file": "{tmp}/output"},
        waiting={"qsub_options": ["-h"]},
        unknown="999999.pbs1",
        down={"PBS_BATCH_SERVICE_PORT": "1"},
    ),
    "gridengine": Backend(
        "gridengine",
        {"output_dir": "{tmp}"},
        waiting={"qsub_options": ["-h"]},
        limit={"time_limit": "3"},
        terminates=False,
        lasts=60,  # see `Site.end`
    ),
    # the real CLI, and a fake of the cloud that runs containers as processes here
    "azure-container-instances": Backend(
        "azure",
        {"resource_group": "tests"},
        unknown="pf-unknown",
        down={"HTTPS_PROXY": "http://127.0.0.1:1"},
        forgets=True,
        many=5,
        here=False,
    ),
    "google-cloud-run": Backend(
        "gcloud", unknown="pf-unknown-r", down={"CLOUDSDK_PROXY_PORT": "1"}, many=5, here=False
    ),
    "kubernetes": Backend(
        "kubernetes",
        {"termination_grace": 2},
        patient={"termination_grace": 20},
        unknown="pf-unknown",
        down={"KUBECONFIG": "/dev/null"},
        forgets=True,
        here=False,
    ),
    "aws-ecs": Backend(
        "aws",
        {"cluster": "tests", "task_definition": "tests", "subnets": ["subnet-1"], "log_group": "tests"},
        unknown="arn:aws:ecs:us-east-1:123456789012:task/tests/unknown",
        down={"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"},
        largest=5_000,
        here=False,
    ),
    "aws-batch": Backend(
        "aws",
        {"queue": "tests", "definition": "tests"},
        unknown="unknown",
        down={"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"},
        largest=20_000,
        here=False,
    ),
}
QUEUES = [name for name, backend in BACKENDS.items() if backend.waiting]
SERVICES = [name for name, backend in BACKENDS.items() if backend.service and name != "podman"]
TERMINATES = [name for name, backend in BACKENDS.items() if backend.terminates]


class CountingRunner(CommandRunner):
    """Remembers what it ran."""

    def __init__(self) -> None:
        super().__init__(4)
        self.commands: list[Command] = []

    async def run(self, command: Command) -> CommandResult:
        self.commands.append(command)
        return await super().run(command)


class Site:
    """A recipe on its backend, with jobs that are ended when the test is over."""

    def __init__(self, name: str, tmp_path: Path) -> None:
        recipe = load(BACKENDS[name].recipe or name).recipe
        policy = {"poll": 1, "grace": 2, "lost_polls": 2, "lost_after": 3, "visible_after": 1}
        self.backend = BACKENDS[name]
        self.recipe = recipe.model_copy(update={"policy": recipe.policy.model_copy(update=policy)})
        self.runner = CountingRunner()
        self.driver = Driver(self.recipe, self.runner)
        self.tmp = tmp_path
        self.jobs: list[Job] = []
        self.news: list[JobStatus | str] = []
        defaults = {key: schema.get("default") for key, schema in self.recipe.variables.items()}
        self.variables = defaults | self._filled(self.backend.variables)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        return os.path.expandvars(value).replace("{tmp}", str(self.tmp)) if isinstance(value, str) else value

    def job(self, command: str, env: dict[str, str] | None = None, key: str = "", **variables: Any) -> Job:
        """A job that is not submitted yet."""
        key = key or f"pf-{uuid.uuid4().hex}-0"
        names = ("flow_run_id", "flow_run_name", "flow_name", "deployment_name", "work_pool_name")
        values = job_values(
            self.recipe,
            self.variables | variables,
            {"job_key": key, "job_name": f"test {key}", "command": command, "env": env or {}, "labels": {"of": "tests"}}
            | dict.fromkeys(names),
        )
        job = Job(key, values, self.recipe.name, self.driver.scope(values))
        self.jobs.append(job)
        return job

    @property
    def watcher(self) -> Watcher:
        return Watcher(logging.getLogger(__name__))

    async def follow(self, job: Job, within: float = SOON) -> JobStatus:
        """Submit a job, and watch it until it has ended: so many seconds at the most."""
        await self.driver.submit(job)
        async with self.watcher as watcher:
            watch = watcher.watch(job, self.driver, self.news.append)
            status = await asyncio.wait_for(watch.ended, within)
        return await self.driver.explain(job, status)

    async def cancelled(self, job: Job, until: Callable[[Watch], bool]) -> JobStatus:
        """Submit a job, and cancel it when the time has come."""
        await self.driver.submit(job)
        async with self.watcher as watcher:
            watch = watcher.watch(job, self.driver, self.news.append)
            await eventually(lambda: until(watch))
            return await asyncio.wait_for(end_job(watcher, watch), SOON)

    def patient(self, grace: float) -> None:
        """Give jobs that are told to end so many seconds to do so."""
        policy = self.recipe.policy.model_copy(update={"grace": grace})
        self.recipe = self.recipe.model_copy(update={"policy": policy})
        self.driver = Driver(self.recipe, self.runner)

    def straying(self, script: str, **variables: Any) -> Job:
        """A job that leaves a process in a session of its own, and then runs a script."""
        mark = {"LIVE_TEST_JOB": uuid.uuid4().hex}
        return self.job(shell(f"{'setsid sleep 300 & ' if self.backend.here else ''}{script}"), mark, **variables)

    def leaves_nothing(self, job: Job) -> bool:
        """Whether no process of a job that strays is alive a minute after its end: it would sleep for five."""
        mark = f"LIVE_TEST_JOB={job.values['env']['LIVE_TEST_JOB']}".encode()
        deadline = time.monotonic() + 60
        while (left := self.backend.here and alive(mark)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return not left

    async def status(self, *jobs: Job) -> list[JobState]:
        report = await self.driver.status(jobs)
        return [report.statuses[job].state for job in jobs]

    async def end(self) -> None:
        """End every job that is left, with the last step of cancelling first.

        Grid Engine 8.1.9 ends a job that it was told to end while it started only when that ends by itself: what a test
        leaves in such a moment sleeps for a minute at the most.
        """
        submitted = [job for job in self.jobs if job.id]
        deadline, step = time.monotonic() + 120, 0
        while left := await self._alive(submitted):
            assert time.monotonic() < deadline, "not in time"
            step = (step - 1) % len(self.recipe.cancels)
            await asyncio.gather(*(self.driver.cancel(job, step) for job in left))
            await asyncio.sleep(1)
        await asyncio.gather(*(self.driver.cleanup(job) for job in submitted))

    async def _alive(self, jobs: list[Job]) -> list[Job]:
        return [job for job, state in zip(jobs, await self.status(*jobs), strict=True) if state.alive]


def alive(mark: bytes) -> list[Path]:
    """The processes of this host that have something in their environment."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in file.read_bytes():
                found.append(file)
    return found


async def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.1)


async def eventually_true(condition: Callable[[], Awaitable[Any]]) -> None:
    deadline = time.monotonic() + SOON
    while not await condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.5)


@pytest.fixture
def site(request, tmp_path, monkeypatch, backends):
    name = request.param
    if BACKENDS[name].service:
        for key, value in backends(BACKENDS[name].service).items():
            monkeypatch.setenv(key, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    site = Site(name, tmp_path)
    yield site
    asyncio.run(site.end())


def on(names: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("site", list(names), indirect=True)


def shell(script: str) -> str:
    return shlex.join(["sh", "-c", script])


def written(path: Path) -> Callable[[object], bool]:
    return lambda _: path.exists() and path.stat().st_size > 0


def is_pending(watch: Watch) -> bool:
    return watch.status.state is JobState.PENDING


def is_running(watch: Watch) -> bool:
    return watch.status.state is JobState.RUNNING


@on(BACKENDS)
def test_a_job_that_ends_well_has_succeeded_and_is_cleaned_up(site):
    job = site.job("sleep 1")
    status = asyncio.run(site.follow(job))

    assert status.state is JobState.SUCCEEDED, status
    assert asyncio.run(site.driver.cleanup(job)) == ""


@on(BACKENDS)
def test_a_job_that_fails_shows_its_exit_code_and_its_last_words(site):
    job = site.job(shell(f"{PYTHON} -c 'import no_such_module'; sleep 1; exit 3"))
    status = asyncio.run(site.follow(job))

    assert (status.state, status.exit_code) == (JobState.FAILED, 3), status
    assert "ModuleNotFoundError: No module named 'no_such_module'" in asyncio.run(site.driver.logs(job))


@on(BACKENDS)
def test_a_job_that_is_killed_from_outside_has_failed(site):
    pid = site.tmp / "pid"
    job = site.straying(f"echo $$ >{pid}; exec sleep 300")

    async def scenario() -> JobStatus:
        await site.driver.submit(job)
        async with site.watcher as watcher:
            watch = watcher.watch(job, site.driver, site.news.append)
            await eventually(lambda: written(pid)(watch) and is_running(watch))
            if site.backend.kill:
                command = [word.replace("{id}", job.id) for word in site.backend.kill]
                await asyncio.to_thread(subprocess.run, command, check=True)
            else:
                os.kill(int(pid.read_text()), signal.SIGKILL)
            return await asyncio.wait_for(watch.ended, SOON)

    status = asyncio.run(scenario())

    assert status.state is JobState.FAILED, status
    assert site.leaves_nothing(job)


@on(QUEUES)
def test_a_job_that_waits_can_be_cancelled(site):
    job = site.job("sleep 300", **site.backend.waiting)
    status = asyncio.run(site.cancelled(job, is_pending))

    assert status.state in {JobState.CANCELLED, JobState.ABSENT}, status


@on(BACKENDS)
def test_a_job_that_ignores_sigterm_is_ended(site):
    ready = site.tmp / "ready"
    job = site.straying(f"trap '' TERM; echo yes >{ready}; sleep 300; sleep 300")
    status = asyncio.run(site.cancelled(job, lambda watch: written(ready)(watch) and is_running(watch)))

    ends = {JobState.CANCELLED, JobState.FAILED} | ({JobState.ABSENT} if site.backend.forgets else set())
    assert status.state in ends, status
    assert site.leaves_nothing(job)


@on(name for name, backend in BACKENDS.items() if backend.limit)
def test_a_job_over_its_schedulers_own_limit_has_failed_and_leaves_nothing(site):
    greedy = 'import time; taken = b"x" * 2**29; time.sleep(300)'
    job = site.straying(f"{PYTHON} -c '{greedy}'", **site.backend.limit)
    status = asyncio.run(site.follow(job, 2 * SOON))

    assert status.state is JobState.FAILED, status
    assert site.leaves_nothing(job)


@on(["slurm", "slurm-24.11"])
def test_a_step_that_a_job_starts_with_srun_has_the_jobs_environment(site):
    seen = site.tmp / "seen"
    step = shlex.join(["srun", "sh", "-c", f'echo "$GREETING $FROM_SETUP" >{seen}'])
    status = asyncio.run(site.follow(site.job(step, {"GREETING": "hello"}, setup="export FROM_SETUP=there")))

    assert status.state is JobState.SUCCEEDED, status
    assert seen.read_text() == "hello there\n"


@on(["process", "ssh"])
def test_a_job_whose_directory_was_deleted_is_known_by_its_mark_and_can_be_ended(site):
    ready = site.tmp / "ready"
    job = site.straying(f"echo yes >{ready}; sleep 300; sleep 300")

    async def scenario() -> JobStatus:
        await site.driver.submit(job)
        await eventually(lambda: written(ready)(job))  # until then it needs its directory
        shutil.rmtree(next(site.tmp.rglob(job.key)))
        assert await site.status(job) == [JobState.RUNNING]
        async with site.watcher as watcher:
            return await asyncio.wait_for(end_job(watcher, watcher.watch(job, site.driver, site.news.append)), SOON)

    assert asyncio.run(scenario()).state is JobState.ABSENT
    assert site.leaves_nothing(job)


ORDERLY = """
import signal, sys, time
def end(*_):
    open(sys.argv[1], "w").write("ended in good order")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(sys.argv[1], "w").write("ready")
time.sleep(300)
"""


@on(TERMINATES)
def test_a_job_that_is_cancelled_may_end_itself_in_good_order(site):
    words = site.tmp / "words"
    site.patient(20)
    job = site.job(shlex.join([PYTHON, "-c", ORDERLY, str(words)]), **site.backend.patient)
    status = asyncio.run(site.cancelled(job, lambda watch: written(words)(watch) and is_running(watch)))

    assert words.read_text() == "ended in good order"
    assert status.state.final or (site.backend.forgets and status.state is JobState.ABSENT), status


@on(BACKENDS)
def test_an_unknown_job_is_absent_beside_one_that_runs(site):
    job, unknown = site.job(f"sleep {site.backend.lasts}"), site.job("true")
    unknown.id = site.backend.unknown

    async def scenario() -> None:
        await site.driver.submit(job)
        await eventually_true(lambda: runs(job))
        assert await site.status(unknown, job) == [JobState.ABSENT, JobState.RUNNING]
        unknown.id = ""

    async def runs(job: Job) -> bool:
        return await site.status(job) == [JobState.RUNNING]

    asyncio.run(scenario())


@on(BACKENDS)
def test_one_command_answers_for_many_jobs(site):
    jobs = [site.job(f"sleep {site.backend.lasts}") for _ in range(site.backend.many)]

    async def scenario() -> list[JobState]:
        await asyncio.gather(*(site.driver.submit(job) for job in jobs))
        site.runner.commands.clear()
        return await site.status(*jobs)

    states = asyncio.run(scenario())

    assert len(site.runner.commands) == 1
    assert all(state.alive for state in states), Counter(states)
    assert len({job.id for job in jobs}) == len(jobs)


@on(["docker", "podman"])
def test_one_command_explains_the_ends_of_many_jobs_and_one_cleans_them_up(site):
    jobs, failed = [site.job(shell(f"exit {code}")) for code in (3, 4, 5)], JobStatus(JobState.FAILED)

    async def scenario() -> None:
        await asyncio.gather(*(site.driver.submit(job) for job in jobs))
        await eventually_true(lambda: are(JobState.FAILED))
        site.runner.commands.clear()
        explained = await asyncio.gather(*(site.driver.explain(job, failed) for job in jobs))
        troubles = await asyncio.gather(*(site.driver.cleanup(job) for job in jobs))

        assert [status.exit_code for status in explained] == [3, 4, 5]
        assert (troubles, len(site.runner.commands)) == (["", "", ""], 2)
        assert await are(JobState.ABSENT)
        assert await asyncio.gather(*(site.driver.explain(job, failed) for job in jobs)) == [failed] * 3
        assert (
            await asyncio.gather(*(site.driver.cleanup(job) for job in jobs)) == [""] * 3
        )  # repeated, it is no trouble

    async def are(state: JobState) -> bool:
        return await site.status(*jobs) == [state] * 3

    asyncio.run(scenario())


@on(BACKENDS)
def test_a_job_is_found_by_its_key_and_submitting_it_again_makes_no_job_that_nobody_finds(site):
    job = site.job("sleep 60")
    # of two jobs with one key, `find` gives either; the other one's id is known to nobody, and it ends by itself
    lost, stranger = site.job("sleep 60", key=job.key), site.job("sleep 300")

    async def scenario() -> None:
        await site.driver.submit(job)
        await eventually_true(lambda: found(lost))
        assert lost.id == job.id

        lost.id = ""
        attempt = await site.driver.try_submit(lost)
        assert attempt.outcome in {"submitted", "transient"}, attempt.said
        assert (await site.driver.find([lost, stranger])) == ({lost}, {})
        assert not stranger.id

    async def found(job: Job) -> bool:
        return job in (await site.driver.find([job]))[0]

    asyncio.run(scenario())


@on(["docker", "podman"])
def test_a_name_in_use_is_our_own_earlier_submission_and_its_job_is_taken_over(site):
    job = site.job("sleep 300")
    again = site.job("sleep 300", key=job.key)

    async def scenario() -> None:
        await site.driver.submit(job)
        await site.driver.submit(again)

    asyncio.run(scenario())

    assert again.id == job.id


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """The command lines of all processes that are seen meanwhile."""
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(file.read_bytes())
                except OSError:
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


DUMP = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"


@on(BACKENDS)
def test_the_environment_arrives_as_it_is_and_is_on_no_command_line(site):
    secret, found = uuid.uuid4().hex, site.tmp / "found.json"
    env = {
        "PREFECT_API_KEY": secret,
        "LINES": f"first\nsecond {secret}\n#$ -q nowhere\n#SBATCH --hold\n\n last ",
        "RETURNS": f"dos\r\nmac\r{secret}\r",
        "QUOTES": f"""it's "quoted" \\ $HOME $(id) `id` %h %% $$ {secret}""",
        "UNICODE": f"Grüße, 世界 \u2028 \U0001f680 {secret}",
        "BLANKS": f"  {secret}\t ",
        "COMMENT": f"# {secret}",
        "EMPTY": "",
        "LONG": secret + site.backend.largest * "x",
        "HOME": "/nowhere",
        "LD_LIBRARY_PATH": "/nowhere/lib",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DOCKER_HOST": "tcp://127.0.0.1:1",
        "CONTAINER_HOST": "tcp://127.0.0.1:1",
    }
    for _ in range(5):  # a command may be over before anybody has looked
        job = site.job(shlex.join([PYTHON, "-c", DUMP, str(found)]), env)
        with command_lines() as seen:
            status = asyncio.run(site.follow(job))
        names = job.key.encode(), str(found).encode()  # what submits it shows the key, and the job itself the file
        if any(name in line for name in names for line in seen):
            break

    assert status.state is JobState.SUCCEEDED, (status, asyncio.run(site.driver.logs(job)))
    arrived = json.loads(found.read_text())
    assert {name: arrived.get(name) for name in env} == env
    assert any(name in line for name in names for line in seen)
    assert not [line for line in seen if secret.encode() in line]


@contextmanager
def unreachable(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The backend's service is down, or this client does not reach it."""
    if site.backend.down:
        with monkeypatch.context() as patch:
            for name, value in site.backend.down.items():
                patch.setenv(name, value)
            yield
        return
    script = SCRIPTS / f"{site.backend.service}.sh"
    subprocess.run([script, "stop"], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([script], check=True, capture_output=True)


@on(SERVICES)
def test_nothing_is_known_while_the_service_is_down(site, monkeypatch):
    job = site.job("sleep 300", **site.backend.waiting)
    lost = site.job("true", key=job.key)
    asyncio.run(site.driver.submit(job))
    with unreachable(site, monkeypatch):
        states = asyncio.run(site.status(job))
        found, trouble = asyncio.run(site.driver.find([lost]))
        other = site.job("true")
        prepare_directory(site.recipe, other.values)
        attempt = asyncio.run(site.driver.try_submit(other))

    assert states == [JobState.UNKNOWN]
    assert found == set()
    assert trouble
    assert attempt.outcome in {"transient", "ambiguous"}, attempt.said


@on(["task-spooler"])
def test_a_job_is_known_and_can_be_ended_when_its_queue_has_died_and_forgotten_it(site):
    job = site.job("sleep 300", socket=str(site.tmp / "socket"))
    tsp = {**os.environ, "TS_SOCKET": str(site.tmp / "socket")}

    async def scenario() -> tuple[list[JobState], JobStatus]:
        await site.driver.submit(job)
        await eventually_true(lambda: runs(job))
        await asyncio.to_thread(subprocess.run, ["tsp", "-K"], env=tsp, check=True)
        states = await site.status(job)
        async with site.watcher as watcher:
            watch = watcher.watch(job, site.driver, site.news.append)
            return states, await asyncio.wait_for(end_job(watcher, watch), SOON)

    async def runs(job: Job) -> bool:
        return await site.status(job) == [JobState.RUNNING]

    states, status = asyncio.run(scenario())
    subprocess.run(["tsp", "-K"], env=tsp, check=True)

    assert states == [JobState.RUNNING]
    assert status.state is JobState.ABSENT


@pytest.mark.parametrize("history", [True, False])
@on(["pbs"])
def test_a_submission_that_was_done_and_failed_is_found_with_and_without_a_job_history(site, history):
    queue = Path(os.environ.get("FAKE_PBS") or pytest.skip("a real PBS loses no answers on demand"))
    settings = [queue / "lost", *([] if history else [queue / "no-history"])]
    job = site.job("sleep 300")
    for setting in settings:
        setting.touch()
    try:
        asyncio.run(site.driver.submit(job))
        states = asyncio.run(site.status(job))
    finally:
        for setting in settings:
            setting.unlink()
    found = subprocess.run(["qselect", "-N", job.key], check=True, capture_output=True, text=True).stdout.split()

    assert found == [job.id]
    assert states[0].alive


@pytest.mark.parametrize("pattern", ["%j", "of %N, %x-%j-%n%t", "%A [%u]"])
@on(["slurm", "slurm-24.11"])
def test_the_output_is_found_whatever_its_file_is_called(site, pattern):
    job = site.job("echo these are its words", output_file=f"{site.tmp}/{pattern}")
    asyncio.run(site.follow(job))

    assert asyncio.run(site.driver.logs(job)) == "these are its words"


@on(["gridengine"])
def test_a_job_is_not_proven_to_be_absent_while_the_accounts_cannot_be_read(site, monkeypatch):
    broken = site.tmp / "qacct"
    broken.write_text("#!/bin/sh\necho 'error: commlib error: got read error' >&2\nexit 1\n")
    broken.chmod(0o755)
    job = site.job("true")

    assert asyncio.run(site.driver.find([job])) == (set(), {})

    monkeypatch.setenv("PATH", f"{site.tmp}:{os.environ['PATH']}")
    found, trouble = asyncio.run(site.driver.find([job]))

    assert found == set()
    assert "commlib error" in trouble[job]


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(300)
"""


@on(["pbs", "process", "slurm", "ssh", "systemd", "task-spooler"])
def test_processes_in_sessions_of_their_own_may_end_themselves_and_end_with_their_job(site):
    words, pid = site.tmp / "words", site.tmp / "pid"
    site.patient(5)
    programs = shlex.join([PYTHON, "-c", ORDERLY, str(words)]), shlex.join([PYTHON, "-c", STUBBORN, str(pid)])
    job = site.job(shell(" ".join(f"setsid {program} &" for program in programs) + " sleep 300"))
    status = asyncio.run(
        site.cancelled(job, lambda watch: written(words)(watch) and written(pid)(watch) and is_running(watch))
    )

    assert status.state.final
    asyncio.run(eventually(lambda: not Path("/proc", pid.read_text()).exists()))
    assert words.read_text() == "ended in good order"
