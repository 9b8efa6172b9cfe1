"""What `logs` publishes is a job's output: no file of /proc, nothing behind a link, no variable of the worker's."""

import asyncio
import os

import pytest

from generic_worker.commands.rendering import job_values, render
from generic_worker.commands.runner import CommandRunner
from generic_worker.library.loading import found_recipes, load

WORKER = {"GENERIC_BACKUP_TOKEN": "the-workers-own-token", "PLAIN_MARK": "what-the-worker-has-in-its-environment"}
KEY = "pf-0123456789abcdef0123456789abcdef-012345"
PLACES = {  # where a recipe's jobs have their output, and how a deployment leads there
    "gridengine": (f"{KEY}.o4711", {"output_dir": "{folder}"}),
    "htcondor": ("output", {"output_file": "{file}"}),
    "lsf": ("output", {"output_file": "{file}"}),
    "pbs": ("output", {"output_file": "{file}"}),
    "process": (f"{KEY}/output", {"directory": "{folder}"}),
}


def said(recipe, file, folder):
    recipe = load(recipe).recipe
    variables = {name: text.format(file=file, folder=folder) for name, text in PLACES[recipe.name][1].items()}
    about = {"job_key": KEY, "job_name": "x", "command": "x", "env": {}, "labels": {}}
    values = {**job_values(recipe, variables, about), "job_id": "4711"}
    return asyncio.run(CommandRunner().run(render(recipe, recipe.logs, values))).stdout


@pytest.mark.parametrize("recipe", PLACES)
def test_a_recipe_reads_regular_files_only(recipe, tmp_path, monkeypatch):
    for name, value in WORKER.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / PLACES[recipe][0]
    file.parent.mkdir(exist_ok=True)
    (tmp_path / "secret").write_text("a file of the worker's")

    file.write_text("the last line\n")
    assert said(recipe, file, tmp_path) == "the last line\n"
    for target in ("/proc/self/environ", f"/proc/{os.getpid()}/environ", tmp_path / "secret", "/dev/zero", tmp_path):
        file.unlink()
        file.symlink_to(target)
        assert said(recipe, file, tmp_path) == ""
    file.unlink()
    os.mkfifo(file)
    assert said(recipe, file, tmp_path) == ""
    if "output_file" in PLACES[recipe][1]:
        assert said(recipe, "/proc/self/environ", tmp_path) == ""
        assert said(recipe, f"/proc/{os.getpid()}/environ", tmp_path) == ""


def test_every_recipe_that_reads_a_file_of_its_own_host_does_so():
    reading = {name: str(load(name).recipe.logs.run) for name in found_recipes() if load(name).recipe.logs}
    tailing = {name: script for name, script in reading.items() if " -n 50 -- " in script or 'tail -n 50 "' in script}

    assert tailing.keys() == {*PLACES, "slurm", "ssh", "systemd", "task-spooler"}
    for script in tailing.values():
        assert '[ -f "$file" ] && [ -s "$file" ] && [ ! -L "$file" ] && ' in script
        assert 'env -i tail -n 50 -- "$file"' in script


def test_the_output_of_a_slurm_job_is_not_what_a_deployment_points_at(hardened, service, start_worker, tmp_path, until):
    pool = hardened("slurm", "logs-slurm")
    link = tmp_path / "link"
    link.symlink_to("/proc/self/environ")

    with start_worker(pool.name, env={**service("slurm"), **WORKER}) as worker:
        files = ["/proc/self/environ", str(link), f"/proc/{worker.pid}/environ"]
        runs = [pool.run(command="sh -c 'exit 3'", output_file=file) for file in files]
        proper = pool.run(command="sh -c 'echo its own words; exit 3'", output_file=f"{tmp_path}/%j.out")
        for run in [*runs, proper]:
            assert pool.ended(run).name == "Crashed"
        until(lambda: "its own words" in pool.logs(proper), 60)
        for text in (*map(pool.logs, runs), worker.log.read_text()):
            assert not [value for value in WORKER.values() if value in text]


def test_a_job_that_puts_a_link_in_place_of_its_output_publishes_nothing(hardened, start_worker, until):
    pool = hardened("process", "logs-process")
    steal = "for out in $PWD/output ../*/output; do ln -sf /proc/self/environ $out; done; exit 3"

    with start_worker(pool.name, env=WORKER):
        run = pool.run(command=f"sh -c '{steal}'")
        pool.ended(run)
        until(lambda: "ended as finished" in pool.logs(run), 60)
        assert not [value for value in WORKER.values() if value in pool.logs(run)]
