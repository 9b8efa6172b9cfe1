import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from generic_worker.commands.rendering import host_values, job_values, used_names
from generic_worker.commands.runner import CommandRunner
from generic_worker.errors import CommandError
from generic_worker.job import Job, JobState
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.preflight import preflight
from generic_worker.library.loading import load

RECIPE = """
recipe: 1
name: shared
variables: {who: {block: aws-credentials}, image: {type: string}}
files:
  login: {user: '${who.user}', password: '${who.password}'}
  job: {image: '${image}', key: '${job_key}'}
check: {run: [grep, right, '${file_login}']}
submit: {run: 'cat "$file_login" "$file_job" >&2; echo "$job_key"', output: {columns: [id]}}
status:
  run: 'grep -o right "$file_login" >&2; for id in $job_ids; do echo "$id R"; done'
  output: {columns: [id, state]}
cancel: {run: ['true']}
states: {running: [R], succeeded: [CD]}
"""


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


class Runner(CommandRunner):
    def __init__(self):
        super().__init__(4)
        self.said = []

    async def run(self, command):
        result = await super().run(command)
        self.said.append(result.stderr)
        return result


def a_job(recipe, number, password="right"):
    key = f"pf-{number}"
    about = {"job_key": key, "job_name": "name", "command": "true", "env": {}, "labels": {}}
    return Job(key, job_values(recipe, {"who": {"user": "me", "password": password}, "image": "x"}, about), "shared")


def test_a_file_that_names_nothing_of_a_job_is_the_same_for_all_jobs_and_others_are_not():
    recipe = load(RECIPE).recipe
    one, two, other = a_job(recipe, 1), a_job(recipe, 2), a_job(recipe, 3, "wrong")

    assert recipe.shared_files == {"login"}
    assert one.values["file_login"] == two.values["file_login"] != other.values["file_login"]
    assert one.values["file_job"] != two.values["file_job"]
    assert "right" not in one.values["file_login"]


def test_jobs_with_the_same_credentials_are_asked_about_together_and_others_with_their_own():
    recipe, runner = load(RECIPE).recipe, Runner()
    driver = Driver(recipe, runner)
    jobs = [a_job(recipe, 1), a_job(recipe, 2), a_job(recipe, 3, "wrong")]

    async def scenario():
        for job in jobs:
            await driver.submit(job)
        del runner.said[:]
        return await driver.status(jobs)

    report = asyncio.run(scenario())

    assert {status.state for status in report.statuses.values()} == {JobState.RUNNING}
    assert sorted(runner.said) == ["", "right\n"]


def test_nobody_else_may_read_it_and_it_stays_when_a_job_has_ended():
    recipe = load(RECIPE).recipe
    driver = Driver(recipe, Runner())
    job = a_job(recipe, 1)
    asyncio.run(driver.submit(job))
    asyncio.run(driver.cleanup(job))
    path = Path(job.values["file_login"])

    assert path.read_text() == '{"user": "me", "password": "right"}'
    assert [one.stat().st_mode & 0o077 for one in (path, path.parent, path.parent.parent)] == [0, 0, 0]
    assert not Path(job.values["job_dir"]).exists()


def test_it_is_written_again_where_it_was_lost_as_after_a_restart():
    recipe, runner = load(RECIPE).recipe, Runner()
    job = a_job(recipe, 1)
    job.id = "pf-1"
    asyncio.run(Driver(recipe, runner).status([job]))
    Path(job.values["file_login"]).unlink()
    asyncio.run(Driver(recipe, runner).status([job]))

    assert runner.said == ["right\n", "right\n"]


def test_check_has_it_too():
    recipe = load(RECIPE).recipe

    assert asyncio.run(preflight(recipe, CommandRunner(), {"who": {"password": "right", "user": "me"}})) == []
    assert asyncio.run(preflight(recipe, CommandRunner(), {"who": {"password": "wrong", "user": "me"}}))
    assert used_names(recipe, recipe.check) == {"file_login"}


def test_where_it_cannot_be_written_the_command_does_not_run(state):
    recipe = load(RECIPE).recipe
    (state / "prefect-generic-worker").write_text("no directory")
    values = host_values(recipe, {"who": {"password": "right", "user": "me"}})
    (problem,) = asyncio.run(preflight(recipe, CommandRunner(), {"who": {"password": "right", "user": "me"}}))

    assert problem == f"shared: check: the file {values['file_login']} cannot be written: Not a directory."
    with pytest.raises(CommandError, match="cannot be written: Not a directory"):
        asyncio.run(Driver(recipe, Runner()).submit(a_job(recipe, 1)))


def test_it_goes_with_its_process_and_what_a_killed_one_left_goes_with_the_next(state):
    script = (
        "import asyncio, os, sys\n"
        "from generic_worker.commands.runner import CommandRunner\n"
        "from generic_worker.jobs.preflight import preflight\n"
        "from generic_worker.library.loading import load\n"
        "who = {'password': 'right', 'user': 'me'}\n"
        "assert asyncio.run(preflight(load(sys.argv[1]).recipe, CommandRunner(), {'who': who})) == []\n"
        "os.kill(os.getpid(), 9) if sys.argv[2] == 'killed' else None\n"
    )

    def left(how):
        subprocess.run([sys.executable, "-c", script, RECIPE, how], env=dict(os.environ), check=False)
        return [path.name for path in state.glob("prefect-generic-worker/*/shared/.shared-*")]

    assert len(left("killed")) == 1
    assert left("in good order") == []
