import pytest

from generic_worker.job import Job, JobState, JobStatus
from generic_worker.jobs.outcome import end_message, exit_status

JOB = Job("pf-1-a", {}, "slurm", id="4711")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            JobStatus(JobState.FAILED, "FAILED", "NonZeroExitCode", 3),
            "The slurm job 4711 ended as FAILED (NonZeroExitCode), exit code 3.",
        ),
        (
            JobStatus(JobState.FAILED, "OUT_OF_MEMORY", "", None, 9),
            "The slurm job 4711 ended as OUT_OF_MEMORY, signal SIGKILL.",
        ),
        (
            JobStatus(JobState.FAILED, "finished", "", 137),
            "The slurm job 4711 ended as finished, exit code 137. A shell reports SIGKILL so. "
            "Often that is the host's answer to too much memory.",
        ),
        (
            JobStatus(JobState.FAILED, "FAILED", "", 127),
            "The slurm job 4711 ended as FAILED, exit code 127. "
            "The job's command was not found, or cannot be executed: look at the command and at PATH in the job.",
        ),
        (
            JobStatus(JobState.FAILED, "TIMEOUT", "TimeLimit", 0),
            "The slurm job 4711 ended as TIMEOUT (TimeLimit).",
        ),
        (
            JobStatus(JobState.CANCELLED, "CANCELLED"),
            "The slurm job 4711 was cancelled outside Prefect: CANCELLED.",
        ),
        (
            JobStatus(JobState.ABSENT, "RUNNING"),
            "The slurm job 4711 has vanished: the infrastructure answers, and does not know it any more. "
            "The last thing known of it: RUNNING.",
        ),
        (
            JobStatus(JobState.ABSENT),
            "The slurm job 4711 has vanished: the infrastructure answers, and does not know it any more.",
        ),
        (
            JobStatus(JobState.SUCCEEDED, "COMPLETED"),
            "The slurm job 4711 has ended (COMPLETED) and the flow run never reported its own end.",
        ),
        (
            JobStatus(JobState.FINISHED, "STOPPED", "Host terminated."),
            "The slurm job 4711 has ended (STOPPED (Host terminated.)), its exit code is not known, and the flow run "
            "never reported its own end.",
        ),
    ],
)
def test_the_message_says_what_the_infrastructure_said(status, message):
    assert message == end_message(JOB, status)


def test_the_message_says_when_the_job_was_ended_by_us():
    status = JobStatus(JobState.CANCELLED, "CANCELLED")

    assert end_message(JOB, status, "the flow run was cancelled") == (
        "The slurm job 4711 was ended because the flow run was cancelled; its last state was CANCELLED."
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (JobStatus(JobState.SUCCEEDED, exit_code=0), 0),
        (JobStatus(JobState.SUCCEEDED), 0),
        (JobStatus(JobState.FAILED, exit_code=3), 3),
        (JobStatus(JobState.FAILED, exit_code=0), 1),
        (JobStatus(JobState.FAILED, exit_code=0, signal=9), 137),
        (JobStatus(JobState.CANCELLED), 1),
        (JobStatus(JobState.ABSENT), 1),
    ],
)
def test_only_a_job_that_ended_well_has_the_exit_status_0(status, code):
    assert code == exit_status(status)


def test_where_the_infrastructure_names_memory_no_other_kill_is_taken_for_it():
    status = JobStatus(JobState.FAILED, "terminated", "Error", 137)

    assert end_message(JOB, status, names_memory=True) == (
        "The slurm job 4711 ended as terminated (Error), exit code 137. A shell reports SIGKILL so."
    )
