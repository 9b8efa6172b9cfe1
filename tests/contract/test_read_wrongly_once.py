"""What was read wrongly once, and what it means. Each input stands for a kind, whose rule is tested elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from generic_worker.answers.conclusions import status_answer
from generic_worker.answers.records import Printed
from generic_worker.answers.submissions import find_answer, namesakes, submit_answer
from generic_worker.commands.runner import CommandRunner
from generic_worker.job import ABSENT, Job, JobState, JobStatus
from generic_worker.jobs.driver import Driver
from generic_worker.library.loading import load

RECIPES = sorted(path.stem for path in (Path(__file__).parents[2] / "recipes").glob("*.yaml"))

SBATCH = "sbatch: error: Batch job submission failed: "
CREATE = 'error when creating "STDIN": Post "https://10.0.0.1": '
DAEMON = "docker: Error response from daemon: "
SYSTEM = "Failed in an LSF library call: Failed in sending/receiving a message: "
UNANSWERED = {
    "slurm": (
        1,
        f"{SBATCH}Zero Bytes were transmitted or received",
        f"{SBATCH}Message receive failure",
        f"{SBATCH}Unexpected message received",
        f"{SBATCH}Communication shutdown failure",
        f"{SBATCH}Connection timed out reading",
        f"{SBATCH}Rate limit exceeded, please retry later",
        f"{SBATCH}Slurm job queue full, sleeping and retrying",
        f"{SBATCH}MaxJobCount limit reached",
    ),
    "pbs": (
        171,
        "qsub: Invalid credential",
        "qsub: End of File",
        "qsub: Server too busy to continue",
        "pbs_iff: cannot connect to host",
    ),
    "lsf": (
        255,
        f"{SYSTEM}Connection reset by peer. Job not submitted.",
        "Batch daemon not responding ... still trying",
        "ls_info: A socket operation has failed: Connection refused",
    ),
    "htcondor": (
        1,
        "ERROR: Failed to commit job submission into the queue.",
        "SECMAN:2007:Failed to end classad message.",
    ),
    "kubernetes": (
        1,
        f"{CREATE}unexpected EOF",
        f"{CREATE}http2: client connection lost",
        f"{CREATE}read tcp 10.0.0.2:1->10.0.0.1:443: read: connection timed out",
        'error when creating "STDIN": dial tcp 10.0.0.1:443: connect: no route to host',
    ),
    "docker": (
        125,
        f"{DAEMON}toomanyrequests: You have reached your pull rate limit.",
        f'{DAEMON}Get "https://registry-1.docker.io/v2/": net/http: request canceled while waiting for connection '
        "(Client.Timeout exceeded while awaiting headers)",
        f"{DAEMON}received unexpected HTTP status: 503 Service Unavailable",
        "docker: unexpected EOF",
    ),
}


@pytest.mark.parametrize(
    ("name", "exit_code", "text"),
    [(name, exit_code, text) for name, (exit_code, *texts) in UNANSWERED.items() for text in texts],
)
def test_a_failed_submission_is_refused_only_by_words_that_say_so(name: str, exit_code: int, text: str) -> None:
    answer = submit_answer(load(name).recipe.submit, Printed(stderr=f"{text}\n", exit_code=exit_code))

    assert answer.outcome in {"transient", "ambiguous"}
    assert not answer.nothing_done


@pytest.mark.parametrize("exit_code", [1, 2, 52, 124, 137, 255])
@pytest.mark.parametrize("name", RECIPES)
def test_no_recipe_takes_a_failure_that_nobody_has_listed_for_a_refusal(name: str, exit_code: int) -> None:
    answer = submit_answer(load(name).recipe.submit, Printed(stderr="the answer was lost\n", exit_code=exit_code))

    assert answer.outcome in {"transient", "ambiguous"}
    assert not answer.nothing_done


def status_of(name: str, source: int, job_id: str, stdout: str) -> JobStatus | None:
    """What one of a recipe's sources says of a job; None where it says nothing."""
    recipe = load(name).recipe
    return status_answer(recipe, recipe.statuses[source], {job_id: ""}, Printed(stdout)).statuses.get(job_id)


def test_accounts_that_call_a_job_running_do_not_keep_it_alive() -> None:
    assert status_of("slurm", 1, "4711", "4711|RUNNING|0:0\n") == ABSENT


def test_a_copy_of_a_job_that_another_cluster_of_a_federation_runs_has_not_ended() -> None:
    status = status_of("slurm", 1, "4711", "4711|REVOKED|0:0\n")

    assert status
    assert (status.state, status.word) == (JobState.UNKNOWN, "REVOKED")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (
            "STOPPED EssentialContainerExited",
            "CannotInspectContainerError: Could not transition to inspecting; timed out after waiting 30s",
        ),
        ("STOPPED", "Host EC2 (instance i-1) terminated."),
    ],
)
def test_a_task_that_has_stopped_without_an_exit_code_has_ended(word: str, reason: str) -> None:
    task = {"id": "arn:1", "key": "pf-1", "state": word, "exit_code": None, "reason": reason}
    status = status_of("aws-ecs", 0, "arn:1", json.dumps({"tasks": [task], "failures": []}))

    assert status
    assert status.state.final
    assert status.reason == reason


def test_another_jobs_comment_with_a_line_break_does_not_spoil_the_answer() -> None:
    find = load("slurm").recipe.find
    assert find

    assert find_answer(find, ["pf-1"], Printed("5000|job|first line\nsecond line\n")) == ({}, "")
    status = "4711|RUNNING|pf-1|None\n5000|RUNNING|first line\nsecond line|None\n"
    assert status_of("slurm", 0, "4711", status) is not None
    assert status_of("slurm", 0, "4712", status) == ABSENT


def test_a_job_of_our_name_whose_comment_the_site_has_cleared_may_be_ours() -> None:
    find = load("slurm").recipe.find
    assert find

    listed = Printed("4711|daily|(null)\n4712|daily|pf-9\n")

    assert find_answer(find, ["pf-1", "pf-2"], listed) == ({}, "")
    assert namesakes(find, {"pf-1": "daily", "pf-2": "hourly"}, listed) == {
        "pf-1": "job 4711 has this job's name and no key of ours: the site may clear or rewrite the field for it"
    }


def test_a_greeting_before_json_is_passed_over() -> None:
    find = load("kubernetes").recipe.find
    assert find

    printed = Printed("Welcome to cluster X\n" + json.dumps({"id": "pf-1", "key": "pf-1"}) + "\n")

    assert find_answer(find, ["pf-1"], printed) == ({"pf-1": {"id": "pf-1", "key": "pf-1"}}, "")


def test_a_greeting_in_a_box_does_not_spoil_the_answer() -> None:
    find = load("ssh").recipe.find
    assert find

    printed = Printed("Welcome to node1\n+-------+\n| node1 |\n+-------+\n4711-1-1|pf-1\n")

    assert find_answer(find, ["pf-1", "pf-2"], printed) == ({"pf-1": {"id": "4711-1-1", "key": "pf-1"}}, "")


@pytest.mark.parametrize("after", ["", "Bye\n"])
@pytest.mark.parametrize("before", ["Welcome to node1\n", "+-------+\n| node1 |\n+-------+\n"])
def test_a_login_host_that_greets_and_has_no_jobs_has_no_jobs(
    before: str, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ssh").write_text(f"#!/bin/sh\necho '{before}'\nshift $(($# - 1)); sh -c \"$1\"\nprintf '{after}'\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    recipe = load("ssh").recipe
    job = Job("pf-1", {"host": "node1", "directory": str(tmp_path), "job_key": "pf-1"}, "ssh")

    assert asyncio.run(Driver(recipe, CommandRunner()).find([job])) == (set(), {})

    (tmp_path / "pf-1").mkdir()
    (tmp_path / "pf-1" / "pid").write_text("4711 4711 88231 1f0c2a9b\n")

    assert asyncio.run(Driver(recipe, CommandRunner()).find([job])) == ({job}, {})
    assert job.id == "4711-88231-1f0c2a9b"
