from __future__ import annotations

import pytest

from generic_worker.job import Job, JobReference, JobState, JobStatus, signal_name


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (JobStatus(JobState.RUNNING), "running"),
        (JobStatus(JobState.PENDING, "PD", "Priority"), "PD (Priority)"),
        (JobStatus(JobState.FAILED, "FAILED", "NonZeroExitCode", 3), "FAILED (NonZeroExitCode), exit code 3"),
        (JobStatus(JobState.FAILED, "FAILED", "FAILED", signal=9), "FAILED, signal SIGKILL"),
        (JobStatus(JobState.RUNNING, "R", exit_code=0), "R"),
        (JobStatus(JobState.SUCCEEDED, "CD", exit_code=0), "CD, exit code 0"),
        (JobStatus(JobState.FAILED, "TIMEOUT", exit_code=0), "TIMEOUT"),
        (JobStatus(JobState.RUNNING, "="), "running (=)"),
        (JobStatus(JobState.FAILED, "1", "Killed", 9), "failed (1, Killed), exit code 9"),
    ],
)
def test_a_status_reads_well(status: JobStatus, text: str) -> None:
    assert str(status) == text


def test_a_signal_without_a_name_is_its_number() -> None:
    assert (signal_name(15), signal_name(250)) == ("SIGTERM", "250")


def test_only_an_end_is_final_and_only_what_is_known_to_exist_is_alive() -> None:
    assert {state.value for state in JobState if state.final} == {"succeeded", "failed", "finished", "cancelled"}
    assert {state for state in JobState if state.alive} == {JobState.PENDING, JobState.RUNNING}


@pytest.mark.parametrize("job_id", ["4711", "a/b c?d&e=f#g%", "ü-[1]", ""])
@pytest.mark.parametrize("scope", ["", "node-1.example.org:22", "a b/c"])
@pytest.mark.parametrize("fields", [{}, {"cluster": "cobalt & co", "empty": ""}])
def test_a_pid_is_read_back_as_it_was(job_id: str, scope: str, fields: dict[str, str]) -> None:
    job = Job("pf-1", {}, "slurm", scope, job_id, fields)

    assert JobReference.parse(job.pid) == JobReference("slurm", scope, job_id, "pf-1", fields)


@pytest.mark.parametrize("pid", ["", "4711", "host:4711", "slurm:///4711", "http://[broken", "slurm://x?key=pf-1"])
def test_a_pid_of_somebody_else_is_not_ours(pid: str) -> None:
    assert JobReference.parse(pid) is None
