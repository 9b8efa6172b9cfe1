"""`generic-worker try` on the real thing: green where the recipe is right, and the broken part where it is not."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from generic_worker.library.loading import load

RECIPES = Path(__file__).parents[2] / "recipes"
FOLDERS = json.dumps([f"/{name}:/{name}:ro" for name in ("usr", "lib", "lib64", "bin", "etc")])
CONTAINER = ["image=hostfs", "image_pull_policy=never", "network=host", f"volumes={FOLDERS}"]
HELD = ["--waiting", 'sbatch_options=["--hold"]']
SITES = {
    "slurm": ("slurm", "slurm", [], HELD),
    "slurm-24.11": ("slurm", "slurm-24.11", [], HELD),
    "pbs": ("pbs", "pbs", [], ["--waiting", 'qsub_options=["-h"]']),
    "htcondor": ("htcondor", "htcondor", [], ["--waiting", 'submit_commands=["hold = true"]']),
    "gridengine": ("gridengine", "gridengine", ["output_dir={tmp}"], ["--waiting", 'qsub_options=["-h"]']),
    "process": ("process", "", [], []),
    "systemd": ("systemd", "systemd-user", [], []),
    "podman": ("podman", "podman", ["image=localhost/busybox", "image_pull_policy=never", "network=host"], []),
    "docker": ("docker", "dockerd", CONTAINER, []),
    "task-spooler": ("task-spooler", "task-spooler", [], ["--waiting", "slots=1000"]),
    "ssh": ("ssh", "sshd", ["host=testhost", 'ssh_options=["-F","{ssh}"]', "directory={tmp}/jobs"], []),
    "aws-ecs": (
        "aws-ecs",
        "aws",
        ["cluster=tests", "task_definition=tests", 'subnets=["subnet-1"]', "log_group=tests"],
        [],
    ),
    "kubernetes": ("kubernetes", "kubernetes", [], []),
    "kubernetes-cluster": ("kubernetes", "kubernetes-cluster", ["image={image}"], []),
    "google-cloud-run": ("google-cloud-run", "gcloud", [], []),
    "aws-batch": ("aws-batch", "aws", ["queue=tests", "definition=tests"], []),
    "azure-container-instances": ("azure-container-instances", "azure", ["resource_group=tests"], []),
}
BROKEN = {
    "wrong id": ("submit.output", r"\^\(\?:Submitted batch job \)\?", "^job number "),
    "ended jobs are not listed": (
        "status",
        r"(run: squeue .* --noheader) --states=all( --format='%i\|%T.*\n.*\n)  - run: \[sacct.*\n.*\n.*\n.*\n",
        r"\1\2",
    ),
    "cancel does nothing": ("cancel", r"run: \[scancel.*\]", "run: ['true']"),
    "a word is missing": ("states", r"succeeded: \[COMPLETED\]", "succeeded: [DONE]"),
    "the environment is lost": ("submit", r"stdin: \$\{job_script\}", r'stdin: "#!/bin/sh\\n${command}\\n"'),
}


def start(recipe, site, tmp_path, backends, *options):
    _, service, assignments, others = SITES[site]
    env = {**os.environ, **(backends(service) if service else {}), "XDG_STATE_HOME": str(tmp_path)}
    ssh = env.get("GENERIC_WORKER_TEST_SSH_CONFIG", "")
    image = env.get("GENERIC_WORKER_TEST_IMAGE", "busybox")
    filled = [text.replace("{tmp}", str(tmp_path)).replace("{ssh}", ssh) for text in assignments]
    filled = [text.replace("{image}", image) for text in filled]
    given = [word for text in filled for word in ("--set", text)]
    command = [sys.executable, "-m", "generic_worker.cli", "try", str(recipe), *given, *others, *options]
    return subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.timeout(600)  # a trial ends by itself after five minutes, or more where commands are slow
@pytest.mark.parametrize("site", SITES)
def test_a_recipe_that_is_right_holds_in_every_respect(site, tmp_path, backends):
    steps = 16 + (load(SITES[site][0]).recipe.watch is not None)
    output, progress = start(SITES[site][0], site, tmp_path, backends, "--json").communicate(timeout=540)
    report = json.loads(output)

    assert {verdict["step"]: verdict["outcome"] for verdict in report["verdicts"]} == dict.fromkeys(
        (verdict["step"] for verdict in report["verdicts"]), "holds"
    ), progress
    assert report["holds"]
    assert len(report["verdicts"]) == steps
    assert report["left"] == []
    assert set(report["seconds"]) == {"submit", "first_seen", "end_noticed"}
    assert progress.count("holds") == steps


@pytest.mark.timeout(600)  # as above
def test_what_is_broken_in_the_recipe_of_slurm_is_named(tmp_path, backends):
    text, trials = (RECIPES / "slurm.yaml").read_text(), {}
    for name, (_, pattern, replacement) in BROKEN.items():
        broken, count = re.subn(pattern, replacement, text, count=1)
        assert count == 1, name
        (tmp_path / name).mkdir()
        recipe = tmp_path / name / "slurm.yaml"
        recipe.write_text(re.sub(r"examples:\n.*", "", broken, flags=re.DOTALL))
        trials[name] = start(recipe, "slurm", tmp_path / name, backends, "--json", "--timeout", "150")
    for name, (key, _, _) in BROKEN.items():
        report = json.loads(trials[name].communicate(timeout=240)[0])
        failed = [verdict for verdict in report["verdicts"] if verdict["outcome"] == "fails"]
        assert trials[name].returncode == 1
        assert failed, name
        assert {verdict["key"] for verdict in failed} == {key}, (name, failed)
        assert not report["left"] or key in {"cancel", "states"}, "it cannot tell"
    leftover = ["scancel", "--me", "--name=try slurm"]  # what was held and not cancelled waits for ever
    subprocess.run(leftover, env={**os.environ, **backends("slurm")}, check=True)


def test_an_interrupt_leaves_no_job_in_slurm(tmp_path, backends, until):
    recipe = tmp_path / "interrupted.yaml"
    recipe.write_text("recipe: 1\nname: interrupted\nextends: slurm\n")
    trial = start(recipe, "slurm", tmp_path, backends)
    jobs = "squeue", "--me", "--noheader", "--name=try interrupted", "--format=%i %T"
    env = {**os.environ, **backends("slurm")}

    def listed():
        return subprocess.run(jobs, env=env, check=True, capture_output=True, text=True).stdout.splitlines()

    while "looked up by its key" not in (line := trial.stderr.readline()):
        assert line
    trial.send_signal(signal.SIGINT)
    trial.communicate(timeout=200)

    assert trial.returncode == 130
    until(lambda: not listed(), 60)
