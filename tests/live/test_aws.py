"""The recipes aws-ecs and aws-batch with the real AWS CLI, against moto in place of AWS.

moto runs nothing: an ECS task goes one state further with each answer, a Batch job with time, or is done at once.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from generic_worker.commands.rendering import job_values
from generic_worker.commands.runner import CommandRunner
from generic_worker.job import Job, JobState, JobStatus
from generic_worker.jobs.directory import prepare_directory
from generic_worker.jobs.driver import Driver
from generic_worker.library.loading import load
from generic_worker.library.template import checked_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from generic_worker.commands.runner import Command, CommandResult

NAME = f"test-{uuid.uuid4().hex[:8]}"
ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
CREDENTIALS = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": "us-east-1"}
API_KEY = "pnu_0123456789abcdefghijklmnopqrstuvwxyz"
RECIPES = ("aws-ecs", "aws-batch")
UNKNOWN = {
    "aws-ecs": f"arn:aws:ecs:us-east-1:123456789012:task/{NAME}/{uuid.uuid4().hex}",
    "aws-batch": str(uuid.uuid4()),
}
SOON = 120


@pytest.fixture(scope="session")
def moto(backends: Callable[[str], dict[str, str]]) -> dict[str, str]:
    """What the AWS CLI needs in its environment. A cluster, a queue and what they need are there."""
    env = backends("moto")

    def aws(*words: str) -> str:
        shown = subprocess.run(["aws", *words, "--output", "text"], env=env, capture_output=True, text=True, check=True)
        return shown.stdout.strip()

    container = {"name": "prefect", "image": "any", "essential": True, "memory": 128}
    aws("ecs", "create-cluster", "--cluster-name", NAME)
    aws("ecs", "register-task-definition", "--family", NAME, "--network-mode", "awsvpc", "--requires-compatibilities",
        "FARGATE", "--cpu=256", "--memory=512", "--container-definitions", json.dumps([container]))  # fmt: skip
    env["TEST_SUBNET"] = aws("ec2", "describe-subnets", "--query", "Subnets[0].SubnetId")
    role = aws("iam", "create-role", "--role-name", NAME, "--assume-role-policy-document", "{}", "--query", "Role.Arn")
    where = aws("batch", "create-compute-environment", "--compute-environment-name", NAME, "--type", "UNMANAGED",
                "--service-role", role, "--query", "computeEnvironmentArn")  # fmt: skip
    aws("batch", "create-job-queue", "--job-queue-name", NAME, "--priority=1", "--state=ENABLED",
        f"--compute-environment-order=order=1,computeEnvironment={where}")  # fmt: skip
    aws("batch", "register-job-definition", "--job-definition-name", NAME, "--type", "container",
        "--container-properties", json.dumps({"image": "any", "vcpus": 1, "memory": 128}))  # fmt: skip
    return env


class CountingRunner(CommandRunner):
    """Remembers what it ran."""

    def __init__(self) -> None:
        super().__init__(4)
        self.commands: list[Command] = []

    async def run(self, command: Command) -> CommandResult:
        self.commands.append(command)
        return await super().run(command)


class Site:
    """A recipe, and what is particular to moto."""

    def __init__(self, name: str, env: dict[str, str]) -> None:
        recipe = load(name).recipe
        policy = recipe.policy.model_copy(update={"visible_after": 0.1, "retry_for": 1})
        self.recipe = recipe.model_copy(update={"policy": policy})
        self.runner = CountingRunner()
        self.driver = Driver(self.recipe, self.runner)
        self._endpoint = env["AWS_ENDPOINT_URL"]
        self._variables: dict[str, Any] = {"aws": CREDENTIALS} | (
            {"cluster": NAME, "task_definition": NAME, "subnets": [env["TEST_SUBNET"]]}
            if name == "aws-ecs"
            else {"queue": NAME, "definition": NAME}
        )

    def job(self, **variables: Any) -> Job:
        key = f"pf-{uuid.uuid4().hex}-{uuid.uuid4().hex[:6]}"
        values = checked_variables(self.recipe, self._variables | variables)
        env = {"PREFECT_API_KEY": API_KEY, "TWO_LINES": 'one\n"two" $(three) ${four}\''}
        about = {"job_key": key, "job_name": "test", "command": "prefect flow-run execute", "env": env, "labels": {}}
        return Job(key, job_values(self.recipe, values, about), self.recipe.name)

    def slowly(self, *, slow: bool, seconds: int = 2) -> None:
        """Let Batch jobs wait for so many seconds in each state, and fail; or succeed at once."""
        self._post("config", {"batch": {"use_docker": slow}})
        transition = {"progression": "time", "seconds": seconds} if slow else {"progression": "immediate"}
        self._post("state-manager/set-transition", {"model_name": "batch::job", "transition": transition})

    def _post(self, path: str, body: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"{self._endpoint}/moto-api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=60).close()

    async def state(self, job: Job) -> JobStatus:
        return (await self.driver.status([job])).statuses[job]

    async def until(self, job: Job, *wanted: JobState) -> JobStatus:
        end = time.monotonic() + SOON
        while (status := await self.state(job)).state not in wanted:
            assert time.monotonic() < end, status
        return status


@pytest.fixture(params=RECIPES)
def site(
    request: pytest.FixtureRequest, moto: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    for name, value in moto.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)  # the block has them
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    site = Site(request.param, moto)
    site.slowly(slow=False)
    yield site
    site.slowly(slow=False)


@pytest.fixture
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Let AWS be down from now on."""
    with socket.socket() as held:  # as long as it is bound, nobody else can listen there
        held.bind(("127.0.0.1", 0))

        def stop() -> None:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{held.getsockname()[1]}")
            monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

        yield stop


def test_a_job_is_submitted_found_by_its_key_and_followed_to_its_end(site):
    async def scenario():
        job, other = site.job(), site.job()
        await site.driver.submit(job)
        submitted, job.id = job.id, ""

        assert await site.driver.find([job]) == ({job}, {})
        assert job.id == submitted
        assert await site.driver.find([other]) == (set(), {})
        assert (await site.until(job, JobState.SUCCEEDED)).word in {"STOPPED", "SUCCEEDED"}

    asyncio.run(scenario())


def test_a_job_is_not_taken_for_ended_before_it_is(site):
    site.slowly(slow=True, seconds=600)
    at_first = {"aws-ecs": JobState.RUNNING, "aws-batch": JobState.PENDING}[site.recipe.name]

    async def scenario():
        job = site.job()
        await site.driver.submit(job)

        assert (await site.state(job)).state is at_first

    asyncio.run(scenario())


def test_a_job_is_cancelled_before_it_has_ended(site):
    site.slowly(slow=True)

    async def scenario():
        job = site.job()
        await site.driver.submit(job)

        assert await site.driver.cancel(job, 0) == (False, "")
        assert (await site.until(job, JobState.SUCCEEDED, JobState.FAILED)).reason == "Cancelled by Prefect"

    asyncio.run(scenario())


def test_a_submission_is_refused_in_the_words_of_aws(site):
    nonsense = "task_definition" if site.recipe.name == "aws-ecs" else "definition"

    async def scenario():
        job = site.job(**{nonsense: "no-such"})
        prepare_directory(site.recipe, job.values)
        attempt = await site.driver.try_submit(job)

        assert attempt.outcome == "refused"
        assert "ClientException" in attempt.said

    asyncio.run(scenario())


def test_an_unknown_id_is_absent_beside_one_that_is_known(site):
    async def scenario():
        known, unknown = site.job(), site.job()
        await site.driver.submit(known)
        unknown.id = UNKNOWN[site.recipe.name]
        statuses = (await site.driver.status([known, unknown])).statuses

        assert statuses[unknown].state is JobState.ABSENT
        assert statuses[known].state not in {JobState.ABSENT, JobState.UNKNOWN}

    asyncio.run(scenario())


def test_twenty_jobs_are_asked_about_with_one_command(site):
    async def scenario():
        jobs = [site.job() for _ in range(20)]
        await asyncio.gather(*(site.driver.submit(job) for job in jobs))
        site.runner.commands.clear()
        report = await site.driver.status(jobs)

        assert len(site.runner.commands) == 1
        assert {status.state for status in report.statuses.values()} <= {JobState.RUNNING, JobState.SUCCEEDED}
        assert not report.trouble

    asyncio.run(scenario())


def test_nothing_is_known_of_jobs_while_aws_does_not_answer(site, nobody_listens):
    async def scenario():
        job, new = site.job(), site.job()
        await site.driver.submit(job)
        nobody_listens()
        report = await site.driver.status([job])
        found, trouble = await site.driver.find([job])
        gone, said = await site.driver.cancel(job, 0)
        prepare_directory(site.recipe, new.values)
        attempt = await site.driver.try_submit(new)

        assert report.statuses[job].state is JobState.UNKNOWN
        assert "Could not connect to the endpoint" in report.trouble
        assert not found
        assert trouble
        assert not gone
        assert said
        assert attempt.outcome == "transient"

    asyncio.run(scenario())


def test_no_secret_is_on_a_command_line_or_in_a_file_that_others_may_read(site, tmp_path):
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:  # it has just ended
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    job = site.job()
    try:
        asyncio.run(site.driver.submit(job))
    finally:
        done.set()
        watcher.join()
    request = Path(job.values["file_request"])

    assert [line for line in seen if request.as_uri().encode() in line]
    assert not [line for line in seen if SECRET_KEY.encode() in line or API_KEY.encode() in line]
    assert API_KEY in request.read_text()
    assert request.stat().st_mode & 0o077 == 0
    assert request.parent.stat().st_mode & 0o077 == 0
