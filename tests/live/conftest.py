"""Real backends for the live tests: found by folder; where there is none, a test is skipped or, if required, fails."""

import asyncio
import json
import os
import ssl
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from backends import backend_environment, pytest_runtest_makereport  # noqa: F401 - the latter is a hook

from generic_worker.commands.rendering import job_values
from generic_worker.commands.runner import CommandRunner
from generic_worker.errors import SubmitError
from generic_worker.job import Job
from generic_worker.jobs.directory import prepare_directory
from generic_worker.jobs.driver import Driver
from generic_worker.library.loading import load
from generic_worker.library.template import checked_variables

STAND_INS = Path(__file__).parents[1] / "fakes"


@pytest.fixture(scope="session")
def slurm():
    """A running Slurm: the environment variables that its commands need."""
    return backend_environment("slurm")


@pytest.fixture(scope="session")
def backends(tmp_path_factory):
    """The environment in which the commands of a backend work, by the name of its start script."""
    queue = tmp_path_factory.mktemp("pbs")

    def environment(name):
        if name == "pbs" and not Path(os.environ.get("GENERIC_WORKER_TEST_BACKENDS", ""), name, "env.sh").is_file():
            return {"PATH": f"{STAND_INS / name}:{os.environ['PATH']}", "FAKE_PBS": str(queue)}
        return backend_environment(name)

    return environment


class Fake:
    """A fake of a cloud API, which plays faults and remembers what it was asked; see `backends/fakes/cloud.py`."""

    def __init__(self, env):
        self._address = env["GENERIC_WORKER_TEST_FAKE"]
        ca = env.get("GENERIC_WORKER_TEST_FAKE_CA")
        handlers = [urllib.request.ProxyHandler({})]
        handlers += [urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca))] if ca else []
        self._opener = urllib.request.build_opener(*handlers)

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with self._opener.open(urllib.request.Request(self._address + path, data, method=method), timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def fault(self, on, **how):
        """Let the next requests whose name matches go wrong, as in `Fault`."""
        self._call("POST", "/_/faults", [{"on": on, **how}])

    def settings(self, **changes):
        self._call("POST", "/_/settings", changes)

    def requests(self, on=""):
        """The names of the requests so far that hold a text."""
        return [one["name"] for one in self._call("GET", "/_/requests") if on in one["name"]]

    @property
    def state(self):
        return self._call("GET", "/_/state")

    def clear(self):
        self._call("DELETE", "/_")


class CloudSite:
    """A bundled recipe, on the real CLI and a fake of its cloud.

    Attributes:
        fake: The fake.
        commands: What was run.
    """

    def __init__(self, name, variables, env):
        recipe = load(name).recipe
        policy = {"visible_after": 0.1, "retry_for": 120, "lost_after": 3, "grace": 2, "poll": 1}
        self.recipe = recipe.model_copy(update={"policy": recipe.policy.model_copy(update=policy)})
        self.fake = Fake(env)
        self.fake.clear()
        self.commands = []
        self.driver = Driver(self.recipe, self)
        self._runner, self._variables = CommandRunner(4), variables

    async def run(self, command):
        self.commands.append(command)
        return await self._runner.run(command)

    def job(self, command="true", env=None, **variables):
        """A job that is not submitted yet."""
        key = f"pf-{uuid.uuid4().hex}-{uuid.uuid4().hex[:6]}"
        about = {"job_key": key, "job_name": "test", "command": command, "env": env or {}, "labels": {}}
        values = job_values(self.recipe, checked_variables(self.recipe, self._variables | variables), about)
        return Job(key, values, self.recipe.name, self.driver.scope(values))

    def once(self, job):
        """One try to submit a job."""
        prepare_directory(self.recipe, job.values)
        return asyncio.run(self.driver.try_submit(job))

    def submitted(self, command="true", env=None, **variables):
        """A job that is submitted, whatever goes wrong on the way."""
        job = self.job(command, env, **variables)
        asyncio.run(self.driver.submit(job))
        return job

    def refusal(self, **variables):
        """What is said of a submission that is refused."""
        job = self.job(**variables)
        with pytest.raises(SubmitError) as caught:
            asyncio.run(self.driver.submit(job))
        return str(caught.value)

    def report(self, *jobs):
        return asyncio.run(self.driver.status(jobs))

    def status(self, job):
        return self.report(job).statuses[job]

    def until(self, job, *states, seconds=120):
        """Wait until a job is in one of some states, and return what is said of it then."""
        deadline = time.monotonic() + seconds
        while (status := self.status(job)).state not in states:
            assert time.monotonic() < deadline, status
        return status


@pytest.fixture
def cloud(backends, monkeypatch, tmp_path):
    """Makes a `CloudSite` of a backend's name, a recipe's name and values of its variables."""
    sites = []

    def start(backend, recipe, variables):
        for name, value in backends(backend).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        sites.append(CloudSite(recipe, variables, os.environ))
        return sites[-1]

    yield start
    for site in sites:
        site.fake.clear()
