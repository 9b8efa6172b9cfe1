"""What several status commands say together: a state, proven absent by all, or nothing."""

from __future__ import annotations

from generic_worker.answers.conclusions import StatusAnswer
from generic_worker.job import ABSENT, UNKNOWN, Job, JobState, JobStatus
from generic_worker.jobs.status_report import StatusReport
from generic_worker.language.operations import Status

COMMAND = Status.model_validate({"run": ["list"], "output": {"columns": ["id", "state"]}})
OPTIONAL = COMMAND.model_copy(update={"optional": True})
RUNNING = JobStatus(JobState.RUNNING, "R")


def jobs(number: int) -> list[Job]:
    return [Job(f"pf-{n}", {}, "recipe", id=str(n)) for n in range(number)]


def test_a_job_is_absent_when_all_commands_prove_it_and_known_when_one_tells() -> None:
    asked = running, absent, open_question, silent = jobs(4)
    report = StatusReport(dict.fromkeys(asked, UNKNOWN))
    report.take(COMMAND, [(asked, StatusAnswer({"0": RUNNING, "1": ABSENT, "2": ABSENT}, remarks=["odd"]))])

    assert report.silent == [absent, open_question, silent]

    report.take(COMMAND, [([absent], StatusAnswer({"1": ABSENT})), ([open_question, silent], StatusAnswer({}, "down"))])
    report.conclude()

    assert list(report.statuses.values()) == [RUNNING, ABSENT, UNKNOWN, UNKNOWN]
    assert report.statuses[running] is RUNNING
    assert (report.trouble, report.remarks) == ("down", ["odd"])


def test_what_an_optional_command_does_not_say_leaves_nothing_open_and_is_no_trouble() -> None:
    asked = jobs(2)
    report = StatusReport(dict.fromkeys(asked, UNKNOWN))
    report.take(COMMAND, [(asked, StatusAnswer({"0": ABSENT, "1": ABSENT}))])
    report.take(OPTIONAL, [(asked, StatusAnswer({}, "not there"))])
    report.conclude()

    assert list(report.statuses.values()) == [ABSENT, ABSENT]
    assert report.trouble == ""
