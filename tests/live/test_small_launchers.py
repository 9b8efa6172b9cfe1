"""The recipes in `recipes/examples` on at, tmux and a service with a REST API: what `try` says of them, and faults."""

import asyncio
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from rest_service import Service

from generic_worker.commands.rendering import job_values, render
from generic_worker.commands.runner import CommandRunner
from generic_worker.errors import SubmitError
from generic_worker.job import Job, JobState
from generic_worker.jobs.driver import Driver
from generic_worker.library.loading import load

EXAMPLES = Path(__file__).parents[2] / "recipes" / "examples"
ADDRESS, TOKEN = "https://jobs.example.org/api/v1", "the-token-of-the-tests"
PAGE = EXAMPLES.parent / "rest.md"


@pytest.fixture
def small_launchers(backends, tmp_path, monkeypatch):
    """Where at, tmux and curl are, and jobs have their private directories."""
    for name, value in backends("small-launchers").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def service(small_launchers):
    """The service, and beside it the recipe with its address."""
    (small_launchers / "jobs").mkdir()
    with Service(small_launchers / "jobs", TOKEN) as running:
        text = (EXAMPLES / "rest.yaml").read_text()
        assert text.count(ADDRESS) == 1
        (small_launchers / "rest.yaml").write_text(text.replace(ADDRESS, running.url))
        yield running


def tried(recipe):
    """What `try` says of a recipe: step to outcome, of all that does not just hold."""
    command = [sys.executable, "-m", "generic_worker.cli", "try", str(recipe), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False)
    report = json.loads(done.stdout)
    assert report["left"] == []
    return {v["step"]: v["outcome"] for v in report["verdicts"] if v["outcome"] != "holds"}, done.stderr


@pytest.mark.timeout(600)  # a trial ends by itself after five minutes
@pytest.mark.parametrize("name", ["at", "tmux"])
def test_try_finds_nothing_wrong_with_a_tool_that_forgets_its_jobs(name, small_launchers):
    odd, progress = tried(EXAMPLES / f"{name}.yaml")

    assert odd == {}, progress
    assert list((small_launchers / "state").glob("**/pf-*")) == []


@pytest.mark.timeout(600)  # as above
def test_try_finds_nothing_wrong_with_a_service(service, small_launchers, monkeypatch):
    (recipe,) = re.findall(r"```yaml\n# try-rest.yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (small_launchers / "try-rest.yaml").write_text(recipe)
    monkeypatch.setenv("API_TOKEN", TOKEN)

    odd, progress = tried(small_launchers / "try-rest.yaml")

    assert odd == {}, progress
    assert any(request.startswith("GET /api/v1/jobs?page=3") for request in service.requests)
    assert service.requests.count("GET /api/v1/events") == 1


class Client:
    """The recipe's commands, one at a time."""

    def __init__(self, recipe, token=TOKEN):
        policy = {"visible_after": 0.1, "retry_for": 120}
        self.recipe = recipe.model_copy(update={"policy": recipe.policy.model_copy(update=policy)})
        self.driver, self.token, self.commands = Driver(self.recipe, self), token, []

    async def run(self, command):
        self.commands.append(command)
        return await CommandRunner().run(command)

    def submitted(self, script="sleep 300"):
        key = f"pf-{uuid.uuid4().hex}-000000"
        about = {"job_key": key, "job_name": "test", "command": f"sh -c '{script}'", "env": {}, "labels": {}}
        job = Job(key, job_values(self.recipe, {"token": {"value": self.token}}, about), "rest")
        asyncio.run(self.driver.submit(job))
        return job

    def status(self, *jobs):
        return asyncio.run(self.driver.status(jobs))


@pytest.fixture
def client(service, small_launchers):
    return Client(load(str(small_launchers / "rest.yaml")).recipe)


def test_a_job_whose_answer_was_dropped_is_found_and_not_submitted_again(service, client):
    service.fail("POST", "drop")

    job = client.submitted()

    assert job.id == "j-1"
    assert [request.split()[0] for request in service.requests] == ["POST", "GET"]
    assert service.requests[1] == f"GET /api/v1/jobs?tag={job.key}"


def test_a_service_that_has_no_time_is_asked_again_and_has_one_job(service, client):
    service.fail("POST", 429, 503)

    client.submitted()

    assert [request.split()[0] for request in service.requests] == ["POST", "POST", "GET", "GET", "POST"]
    assert list(service.jobs) == ["j-1"]


def test_a_wrong_token_is_refused_at_once_and_shown_nowhere(service, client):
    client.token = "another-token-of-the-tests"

    with pytest.raises(SubmitError) as caught:
        client.submitted()

    assert "curl: (22) The requested URL returned error: 401" in str(caught.value)
    assert client.token not in str(caught.value)
    assert len(service.requests) == 1


def test_the_token_is_in_no_argument(service, client):
    job = client.submitted()
    client.status(job)
    asyncio.run(client.driver.cancel(job, 0))

    client.commands.append(render(client.recipe, client.recipe.watch, job.values))

    assert len(client.commands) == 4
    assert not [command for command in client.commands if TOKEN in command.line]


def test_pages_that_fail_make_no_job_absent(service, client):
    jobs = [client.submitted() for _ in range(5)]
    assert {status.state for status in client.status(*jobs).statuses.values()} == {JobState.RUNNING}

    service.fail("GET", "drop")
    report = client.status(*jobs)

    assert {status.state for status in report.statuses.values()} == {JobState.UNKNOWN}
    assert "curl: (52)" in report.trouble
