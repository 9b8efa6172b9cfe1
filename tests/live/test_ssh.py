"""Recipes whose commands run on another host, through a real sshd."""

import asyncio
import json
import time
import uuid
from pathlib import Path

import pytest

from generic_worker.commands.rendering import job_values, render
from generic_worker.commands.runner import CommandRunner
from generic_worker.job import Job, JobState
from generic_worker.jobs.driver import Driver
from generic_worker.library.loading import load

TESTS = Path(__file__).parents[1]
VALUES = json.loads((TESTS / "hostile_values.json").read_text(encoding="utf-8"))
SITE = TESTS.parent / "recipes" / "examples" / "slurm-site.yaml"


@pytest.fixture(scope="module")
def sshd(backends):
    """How to reach the far side: ssh's words up to and including the host."""
    config = backends("sshd")["GENERIC_WORKER_TEST_SSH_CONFIG"]
    return ["ssh", "-F", config, "-o", "BatchMode=yes", "testhost"]


def recipe(ssh, **parts):
    data = {
        "recipe": 1,
        "name": "far",
        "variables": {"value": {"type": "string"}, "values": {"type": "array", "description": "Options."}},
        "via": {"run": ssh, "quote": True, "unreachable": [255]},
        "submit": {"run": ["x"], "output": {"columns": ["id"]}},
        "status": {"run": ["x"], "output": {"columns": ["id", "state"]}},
        "cancel": {"run": ["x"]},
        "states": {"succeeded": ["done"]},
    }
    return load({**data, **parts}).recipe


def job(recipe, key="pf-far-1", **given):
    variables = {"value": None, "values": None, **given.pop("variables", {})}
    known = {"job_key": key, "job_name": "n", "command": "true", "env": {}, "labels": {}, **given}
    return Job(key, job_values(recipe, variables, known), recipe.name)


def ran(recipe, jobs, limit=8):
    async def run():
        runner = CommandRunner(limit)
        commands = [render(recipe, recipe.submit, job.values) for job in jobs]
        return await asyncio.gather(*(runner.run(command) for command in commands))

    return asyncio.run(run())


def test_hostile_values_are_words_on_the_far_side(sshd):
    subject = recipe(
        sshd, submit={"run": ["printf", "%s\\0", "${values}", "--x=${values}"], "output": {"columns": ["id"]}}
    )
    (result,) = ran(subject, [job(subject, variables={"values": VALUES})])

    assert result.stdout.split("\0")[:-1] == [*VALUES, *(f"--x={value}" for value in VALUES)]


def test_hostile_values_are_shell_variables_on_the_far_side(sshd):
    subject = recipe(sshd, submit={"run": 'printf "%s" "$value"; env -0', "output": {"columns": ["id"]}})
    results = ran(subject, [job(subject, variables={"value": value}) for value in VALUES])

    for value, result in zip(VALUES, results, strict=True):
        assert result.stdout.startswith(value)
        assert f"value={value}" in result.stdout.split("\0")


def test_hostile_text_is_standard_input_on_the_far_side_also_beside_an_environment(sshd):
    text = "\n".join(VALUES)
    subject = recipe(
        sshd, env={"TOOL": "${value}"}, submit={"run": ["cat"], "stdin": "${value}", "output": {"columns": ["id"]}}
    )
    (result,) = ran(subject, [job(subject, variables={"value": text})])

    assert result.stdout == text


def test_hostile_names_and_environments_survive_the_job_script_on_the_far_side(sshd):
    submit = {"run": ["/bin/sh", "-s"], "stdin": "${job_script}", "output": {"columns": ["id"]}}
    subject = recipe(sshd, submit=submit)
    results = ran(subject, [job(subject, command="env -0", env={"V": value}, job_name=value) for value in VALUES])

    for value, result in zip(VALUES, results, strict=True):
        assert f"V={value}" in result.stdout.split("\0")


@pytest.mark.parametrize(
    ("command", "state"),
    [
        ("exit 0", JobState.ABSENT),  # a full answer without the job
        ("exit 1", JobState.UNKNOWN),  # the far side's own failure proves nothing
        ("exit 255", JobState.UNKNOWN),  # nor does one that looks like ssh's
        ("kill -9 $$", JobState.UNKNOWN),  # which is what ssh makes of this
    ],
)
def test_what_the_far_side_says_is_told_from_what_ssh_says(sshd, command, state):
    status = {"run": f"echo 'other done'; {command}", "output": {"columns": ["id", "state"]}}
    subject = recipe(sshd, status=status)
    asked = job(subject)
    asked.id = "1"
    report = asyncio.run(Driver(subject, CommandRunner()).status([asked]))

    assert report.statuses[asked].state is state


def test_a_host_that_cannot_be_reached_says_nothing_about_its_jobs(sshd):
    away = [*sshd[:-1], "-o", "ConnectTimeout=2", "-p", "1", sshd[-1]]
    subject = recipe(away, status={"run": ["true"], "output": {"columns": ["id", "state"]}, "absent": "(?P<id>.*)"})
    asked = job(subject)
    asked.id = "1"
    report = asyncio.run(Driver(subject, CommandRunner()).status([asked]))

    assert report.statuses[asked].state is JobState.UNKNOWN
    assert "the far side cannot be reached" in report.trouble


def test_the_site_example_runs_jobs_on_a_cluster_behind_its_login_node(sshd, slurm, tmp_path):
    overlay = tmp_path / "here.yaml"
    ssh = json.dumps(sshd)
    overlay.write_text(
        f"recipe: 1\nname: here\nextends: {SITE}\nenv: {{PATH: /usr/bin:/bin, SLURM_CONF: {slurm['SLURM_CONF']}}}\n"
        f"via: {{run: {ssh}}}\n"
    )
    subject = load(str(overlay)).recipe
    variables = {name: schema.get("default") for name, schema in subject.variables.items()}
    key = f"pf-{uuid.uuid4().hex}-0"  # Slurm knows those of earlier tests
    known = {"job_key": key, "job_name": "n", "command": "sleep 300", "env": {"A": "b"}, "labels": {}}
    values = job_values(subject, variables | {"working_dir": str(tmp_path)}, known)

    async def live():
        driver, submitted = Driver(subject, CommandRunner()), Job(key, values, "here")
        await driver.submit(submitted)
        alive = (await driver.status([submitted])).statuses[submitted].state.alive
        found, _ = await driver.find([submitted])
        await driver.cancel(submitted, 0)
        deadline = time.monotonic() + 60
        while not (status := (await driver.status([submitted])).statuses[submitted]).state.final:
            assert time.monotonic() < deadline, status
            await asyncio.sleep(0.2)
        return alive, found == {submitted}, status.state

    assert asyncio.run(live()) == (True, True, JobState.CANCELLED)
    assert "--account=p-1234" in subject.submit.run
    assert not {"account", "qos"} & set(subject.variables)
