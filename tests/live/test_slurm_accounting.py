"""A Slurm that keeps accounts, and forgets its jobs at once otherwise: `sacct` says what became of them."""

import asyncio
import shlex
import subprocess
import uuid

import pytest

from generic_worker.commands.rendering import job_values
from generic_worker.commands.runner import CommandRunner
from generic_worker.job import Job, JobState
from generic_worker.jobs.driver import Driver
from generic_worker.library.loading import load

ENDS = {
    "true": (JobState.SUCCEEDED, "COMPLETED", 0, 0),
    "exit 3": (JobState.FAILED, "FAILED", 3, 0),
    "kill -9 $$": (JobState.FAILED, "FAILED", 0, 9),
    "sleep 300": (JobState.CANCELLED, "CANCELLED", 0, 0),
}


@pytest.fixture(params=["accounting/slurm", "accounting/slurm-24.11"])
def driver(request, backends, monkeypatch):
    """A driver for the recipe `slurm` on a cluster with accounts."""
    for key, value in backends(request.param).items():
        monkeypatch.setenv(key, value)
    return Driver(load("slurm").recipe, CommandRunner(4))


def forgotten(job):
    shown = subprocess.run(["scontrol", "show", "job", job.id], capture_output=True, text=True, check=False)
    return "Invalid job id specified" in shown.stderr


def test_what_became_of_jobs_that_slurm_has_forgotten_is_in_its_accounts(driver, tmp_path, until):
    recipe = driver.recipe
    defaults = {name: schema.get("default") for name, schema in recipe.variables.items()}
    jobs = {}
    for script in ENDS:
        key = f"pf-{uuid.uuid4().hex}-0"
        known = {"job_key": key, "job_name": key, "command": shlex.join(["sh", "-c", script]), "env": {}, "labels": {}}
        jobs[script] = Job(key, job_values(recipe, defaults | {"output_file": f"{tmp_path}/%j"}, known), recipe.name)

    async def submitted():
        await asyncio.gather(*(driver.submit(job) for job in jobs.values()))
        await driver.cancel(jobs["sleep 300"], 0)

    asyncio.run(submitted())
    until(lambda: all(forgotten(job) for job in jobs.values()), 120, every=0.5)

    def told():
        report = asyncio.run(driver.status(list(jobs.values())))
        found = {script: report.statuses[job] for script, job in jobs.items()}
        assert {
            script: (status.state, status.word, status.exit_code or 0, status.signal or 0)
            for script, status in found.items()
        } == ENDS
        return True

    until(told, 60)  # the accounts lag behind
