"""No text of others that stands in an answer is taken for what the command itself says, or for another record."""

import json
import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from generic_worker.answers.conclusions import explain_answer, status_answer
from generic_worker.answers.records import Printed, read
from generic_worker.commands.rendering import job_values, render
from generic_worker.errors import OutputError
from generic_worker.job import JobState, JobStatus
from generic_worker.language.patterns import search
from generic_worker.library.loading import load

CAPTURES = Path(__file__).parents[1] / "captures"
WITH_WORDS = ["azure-container-instances", "htcondor", "lsf", "pbs"]
"""Recipes that conclude something from a command's own words, where it shows reasons, too."""


def own_words(recipe, pattern):
    """What the recipe's commands have said themselves: lines in which a pattern matches, with the id that it finds."""
    lines = {line for file in CAPTURES.glob(f"{recipe}/*/*.err") for line in file.read_text().splitlines()}
    found = {line: search(pattern, line) for line in sorted(lines)}
    return [(line, match.groupdict().get("id", "")) for line, match in found.items() if match]


def with_reasons(recipe):
    """What status commands have printed that shows a reason, with the command, the reason, and the ids in it."""
    for case in sorted(CAPTURES.glob(f"{recipe.name}/status/*.yaml")):
        details, output = yaml.safe_load(case.read_text()), case.with_suffix(".out")
        command = recipe.statuses[int(details.get("of", "status[0]")[7:-1])]
        if details["exit"] == 0 and output.exists():
            text = output.read_text()
            try:
                records = read(command.output, text).records
            except OutputError:
                continue
            for record in records:
                if record.get("reason") and text.count(record["reason"]) == 1:
                    yield command, text, record["reason"], record["id"]


@pytest.mark.parametrize("name", WITH_WORDS)
def test_words_of_a_command_in_a_reason_are_a_reason(name):
    recipe, tried = load(name).recipe, 0
    for command, text, reason, job_id in with_reasons(recipe):
        for pattern in filter(None, (command.absent, command.trouble, command.empty)):
            for words, other in own_words(name, pattern):
                jobs = {job_id: "", other or "x": ""}
                printed = text.replace(reason, json.dumps(f"{reason} {words}")[1:-1])
                code = 1 if pattern == command.absent else 0
                before = status_answer(recipe, command, jobs, Printed(text, exit_code=code))
                after = status_answer(recipe, command, jobs, Printed(printed, exit_code=code))
                assert after.trouble == before.trouble, words
                assert after.statuses.keys() == before.statuses.keys(), words
                tried += 1
    assert tried


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_an_error_that_names_a_command_is_a_reason_and_no_more(name, service):
    """A container whose command is not there has an error that quotes it. It is created, and cannot start."""
    recipe = load(name).recipe
    command = '/no|such\n0|"}\n{"exit_code": 0, "reason": "forged"}'
    fixed = {"image": "hostfs" if name == "docker" else "localhost/busybox", "network": "host"}
    about = {"job_key": f"pf-{uuid4().hex}", "job_name": "x", "command": "x", "env": {}, "labels": {}}
    values = job_values(recipe, fixed, about)
    env = {**os.environ, **service(name)}

    def call(*words):
        return subprocess.run([name, *words], env=env, capture_output=True, text=True, check=False)

    own = f"--name={about['job_key']}"  # other tests make containers at the same time
    created = call("run", "--detach", "--pull=never", own, f"--network={fixed['network']}", fixed["image"], command)
    container = call("ps", "--all", "--quiet", "--no-trunc", f"--filter=name={about['job_key']}").stdout.strip()
    try:
        assert created.returncode == 127, created.stderr
        explain = render(recipe, recipe.explain, values | {"job_ids": [container]})
        printed = call(*explain.argv[1:])
        status = explain_answer(recipe.explain, JobStatus(JobState.FAILED), Printed(printed.stdout, printed.stderr))
        assert status.exit_code == (127 if name == "docker" else None), printed  # podman keeps neither code nor error
        assert ("/no|such" in status.reason) == (name == "docker"), printed
    finally:
        call("rm", "--force", container)


def test_what_another_user_puts_beside_the_jobs_says_nothing_about_them(tmp_path):
    """With a directory that users share: a file that reads as a line about somebody else's job."""
    recipe = load("process").recipe
    about = {"job_key": "pf-1", "job_name": "x", "command": "x", "env": {}, "labels": {}}
    values = job_values(recipe, {"directory": str(tmp_path)}, about)
    for key in ("pf-1", "pf-2", "pf-3\n4711-1-1|finished|0|pf-1|"):
        (tmp_path / key).mkdir()
    (tmp_path / "pf-1" / "pid").write_text("4711 4711 1 1\n")
    (tmp_path / "pf-2" / "pid").write_text("4711 4711 1 1|finished|0|pf-1|\n")
    (tmp_path / "pf-3\n4711-1-1|finished|0|pf-1|" / "pid").write_text("4712 4712 1 1\n")
    elsewhere = tmp_path.with_name("elsewhere")
    for key in ("pf-2", "pf-3\n4711-1-1|finished|0|pf-1|"):
        if os.geteuid() == 0:
            os.chown(tmp_path / key, 65534, 65534)
        else:  # a link to a folder of somebody else's; nobody else can be had
            (tmp_path / key).rename(elsewhere)
            (tmp_path / key).symlink_to(elsewhere)

    for operation in (recipe.find, recipe.statuses[0]):
        command = render(recipe, operation, values)
        done = subprocess.run(
            command.argv, env={**os.environ, **command.env}, capture_output=True, text=True, check=True
        )
        assert [(one["id"], one["key"]) for one in read(operation.output, done.stdout).records if one["id"]] == [
            ("4711-1-1", "pf-1")
        ]
