"""What is concluded when a pattern takes too long: nothing."""

import pytest

from generic_worker.answers.conclusions import explain_answer, gone, status_answer
from generic_worker.answers.records import Printed
from generic_worker.answers.submissions import find_answer, submit_answer
from generic_worker.job import JobState, JobStatus
from generic_worker.language import patterns
from generic_worker.language.operations import Explain, Find, Status, Submit
from generic_worker.library.loading import load

SLOW, LONG = "(?:a|aa)+$", "a" * 80 + "!"
READ = {"regex": f"(?P<id>x)(?P<state>y)|(?P<key>{SLOW})"}
JSON = {"json": f"$[?(@.name =~ '{SLOW}')]", "fields": {"id": "name", "state": "name", "key": "name"}}


@pytest.fixture(autouse=True)
def _brief(monkeypatch):
    monkeypatch.setattr(patterns, "_SECONDS", 0.1)


@pytest.mark.parametrize(("output", "printed"), [(READ, LONG), (JSON, f'[{{"name": "{LONG}"}}]')])
def test_an_answer_that_cannot_be_read_in_time_says_nothing(output, printed):
    recipe = load("process").recipe
    place = "output.regex: " if output is READ else "output.json: "
    status = status_answer(recipe, Status(run=["x"], output=output), {"1": "pf-1"}, Printed(printed))
    found, trouble = find_answer(Find(run=["x"], output=output), ["pf-1"], Printed(printed))
    submitted = submit_answer(Submit(run=["x"], output=output), Printed(printed))

    assert (status.statuses, found, submitted.outcome) == ({}, {}, "ambiguous")
    assert all(text.startswith(f"{place}the pattern ") for text in (status.trouble, trouble, submitted.trouble))


def test_what_is_said_of_a_job_is_not_concluded_from_a_slow_pattern():
    failed = JobStatus(JobState.FAILED, "F")

    assert explain_answer(Explain(run=["x"], output={"regex": f"(?P<reason>{SLOW})"}), failed, Printed(LONG)) == failed
    assert not gone(SLOW, Printed(LONG, exit_code=1))
