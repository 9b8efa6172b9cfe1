"""`generic-worker pool` against a real server: what it makes, what it changes, and what it asks about first."""

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from generic_worker.cli import main
from generic_worker.library.loading import load
from generic_worker.library.template import base_job_template

LAUNCHER = """
recipe: 1
name: {name}
description: Starts each flow run here.
extends: process
variables:
  queue: {{type: string, default: short, description: Where to wait.}}
  memory: {{type: {memory}, description: Memory in GB.}}
script:
  before: |
    echo "waits in the queue $queue" >"$jobs_dir/queue-$flow_run_name"
    cd "${{working_dir:-${{directory:-$jobs_dir}}/$job_key}}"
    PATH="$worker_bin:$PATH"
{more}
"""


@pytest.fixture
def recipe(tmp_path, request):
    """Write a recipe of a name that only this test has: recipe(memory="integer", more=""); returns its file."""
    name = f"launcher-{abs(hash(request.node.name)) % 10**6}"

    def write(memory="integer", more=""):
        file = tmp_path / f"{name}.yaml"
        file.write_text(LAUNCHER.format(name=name, memory=memory, more=more))
        return file

    return write


@pytest.fixture
def command(server, capsys, monkeypatch):
    """Call `generic-worker pool`: command(*arguments) returns its exit code and what it printed.

    With an answer it is a process of its own, on a terminal; else nobody is there.
    """

    def run(*arguments, answer=None):
        words = ["pool", *map(str, arguments)]
        if answer is not None:
            return on_a_terminal(words, answer, server.env)
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        capsys.readouterr()
        code = main.run(words)
        return code, "".join(capsys.readouterr()).splitlines()

    return run


def on_a_terminal(words, answer, env):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "generic_worker.cli", *words],
        env=env,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        os.write(ours, f"{answer}\n".encode())
        out, _ = process.communicate(timeout=200)
    os.close(ours)
    os.close(theirs)
    return process.returncode, out.decode().splitlines()


@pytest.fixture
def pool(existing_pool, recipe, command, request):
    """A pool that `pool apply` has made."""
    name = f"applied-{abs(hash(request.node.name)) % 10**6}"
    assert command("apply", name, recipe()) == (0, [f"The work pool {name} is made from the recipe {recipe().stem}."])
    return existing_pool(name)


def template(pool):
    return pool.read_pool().base_job_template


def test_applying_a_recipe_twice_changes_nothing_the_second_time(pool, recipe, command, monkeypatch):
    before = pool.read_pool()
    said = f"The work pool {pool.name} has the recipe {recipe().stem} as it is now. There is nothing to change."

    assert command("apply", pool.name, recipe()) == (0, [said])
    assert command("diff", pool.name, recipe()) == (0, [said])
    monkeypatch.setenv("GENERIC_WORKER_RECIPES", str(recipe().parent))
    assert command("diff", pool.name) == (0, [said])
    assert pool.read_pool().updated == before.updated


def test_a_changed_recipe_is_shown_and_applied_and_an_edited_default_stays(pool, recipe, command):
    edited = template(pool)
    edited["variables"]["properties"]["queue"]["default"] = "long"
    pool.update(edited)
    file = recipe(more="policy: {poll: 3}")
    changes = ['  = queue: your default "long" stays', "  ~ recipe: policy.poll"]

    assert command("diff", pool.name, file) == (
        1,
        [f"The work pool {pool.name} differs from the recipe {file.stem} as it is now:", *changes],
    )
    told = [f"The work pool {pool.name} gets the recipe {file.stem} as it is now:", *changes]
    assert command("apply", pool.name, file, "--dry-run") == (0, [*told, "Nothing was changed."])
    assert template(pool) == edited
    assert command("apply", pool.name, file) == (0, told)
    assert template(pool)["job_configuration"]["recipe"]["policy"]["poll"] == 3
    assert template(pool)["variables"] == edited["variables"]
    assert command("diff", pool.name, file)[0] == 0


def test_what_breaks_a_deployment_or_concerns_active_jobs_is_asked_about_first(
    pool, recipe, command, start_worker, tmp_path
):
    pool.deploy(job_variables={"memory": 4})
    with start_worker(pool.name):
        run = pool.run(command=f"sh -c 'until [ -e {tmp_path}/open ]; do sleep 0.2; done'")
        pool.job(run)
        before = template(pool)
        file = recipe(memory="string", more="policy: {poll: 3}")
        told = [
            f"The work pool {pool.name} gets the recipe {file.stem} as it is now:",
            '  ~ memory: type is "string", and was "integer"',
            "  ~ recipe: policy.poll",
            f"  ! deployment work/{pool.name}: memory does not take 4",
            "  ! 1 active job would be asked about with the new recipe",
        ]
        nobody = "Somebody has to agree to what is marked with !, and nobody is there to be asked. Give --yes to do so."

        assert command("apply", pool.name, file) == (1, [*told, nobody, "Nothing was changed."])
        assert template(pool) == before
        code, lines = command("apply", pool.name, file, answer="no")
        assert (code, lines[-1]) == (1, "Apply it all the same? [y/N] Nothing was changed.")
        code, shown = command("apply", pool.name, file, "--json")
        assert (code, json.loads("\n".join(shown))["applied"]) == (1, False)
        assert template(pool) == before
        code, lines = command("apply", pool.name, file, answer="y")
        assert (code, lines[:-1]) == (0, told)
        assert template(pool)["variables"]["properties"]["memory"]["type"] == "string"

        (tmp_path / "open").touch()
        assert pool.ended(run).name == "Crashed"  # it ran no flow, and ended well


def test_a_fixed_variable_has_left_the_form_and_a_deployment_that_sets_it_has_no_effect(
    pool, recipe, command, start_worker, server, until
):
    pool.deploy(job_variables={"queue": "long"})
    told = [
        f"The work pool {pool.name} gets the recipe {recipe().stem} as it is now:",
        '  ~ queue: it is fixed to "debug", and not in the form any more',
        f"  ! deployment work/{pool.name}: it sets queue, which has no effect any more",
    ]

    assert command("apply", pool.name, recipe(), "--fix", "queue=debug", "--yes") == (0, told)
    assert "queue" not in template(pool)["variables"]["properties"]
    with start_worker(pool.name):
        run = pool.run()
        assert pool.ended(run).name == "Completed"
        until(lambda: "The work pool fixes queue: what was set has no effect." in pool.logs(run), 60)
    (queue,) = server.home.glob(f"state/prefect-generic-worker/*/{recipe().stem}/queue-{pool.read(run).name}")
    assert queue.read_text() == "waits in the queue debug\n"


def test_a_pool_is_shown_with_its_workers_and_whether_they_can_run_it(
    pool, recipe, command, start_worker, tmp_path, until
):
    file = recipe(more="requires: [no-such-program]")
    storage = str(tmp_path / "bundles")
    command("apply", pool.name, file, "--yes", "--set", "queue=long", "--fix", "memory=4", "--storage", storage)
    with start_worker(pool.name):
        said = f"{file.stem} needs no-such-program, which is not on the worker's PATH."
        until(lambda: f"  w: online, cannot run the recipe: {said}" in command("show", pool.name)[1], 120)
        code, lines = command("show", pool.name)
        shown = json.loads("\n".join(command("show", pool.name, "--json")[1]))
        command("apply", pool.name, recipe(), "--yes")
        until(lambda: "  w: online, can run the recipe" in command("show", pool.name)[1], 60)

    assert code == 0
    assert lines[0] == f"{pool.name}: recipe {file.stem}"
    assert {'  queue (string): "long"', "  memory: fixed to 4"} <= set(lines)
    assert f"storage for flows without a deployment: {storage}" in lines
    assert shown["workers"][0]["problems"] == [said]


def test_pools_that_are_not_there_or_of_another_type_are_told(make_pool, recipe, command):
    make_pool("of-another-type", kind="process")

    assert command("show", "nowhere") == (2, ["There is no work pool 'nowhere'."])
    assert command("diff", "nowhere") == (2, ["There is no work pool 'nowhere'."])
    assert command("apply", "of-another-type", recipe()) == (
        2,
        ["The work pool 'of-another-type' is of type 'process', not 'generic'. A pool's type cannot be changed."],
    )
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert command("apply", "new", recipe()) == (
            2,
            ["The Prefect API at http://127.0.0.1:9/api cannot be reached: All connection attempts failed."],
        )


def test_a_worker_says_at_its_start_that_its_pool_has_lost_its_recipe(make_pool, start_worker, until):
    template = base_job_template(load("process"))
    del template["job_configuration"]["recipe"]
    pool = make_pool("lost", template=template)

    with start_worker(pool.name) as worker:
        run = pool.run(command="true")
        until(lambda: "will crash until this is mended" in worker.log.read_text(), 120)
        state = pool.ended(run)

    said = "recipe: the base job template has no recipe. Make one with: generic-worker template RECIPE."
    assert said in worker.log.read_text()
    assert (state.name, said in state.message) == ("Crashed", True)
