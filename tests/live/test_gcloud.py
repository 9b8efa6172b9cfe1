"""The recipe google-cloud-run with the real gcloud, against a fake of Google Cloud that plays faults, and containers.

Where gcloud is not installed, a stand-in does what it did. The error bodies are those of the public API reference;
which of them gcloud repeats or rewords is its own.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path

import pytest

from generic_worker.job import JobState


@pytest.fixture
def google(cloud):
    return cloud("gcloud", "google-cloud-run", {})


@pytest.mark.parametrize("how", [{"drop": True}, {"status": 503, "body": ["", "The service is unavailable."]}])
def test_a_submission_that_was_done_and_whose_answer_was_lost_starts_one_execution(google, how, tmp_path):
    google.fake.fault("POST jobs", after=True, **how)
    job = google.submitted(f"sh -c 'echo ran >>{tmp_path}/ran'")

    assert google.until(job, JobState.SUCCEEDED)
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert list(google.fake.state["executions"]) == [job.id] == [f"{job.key}-r"]
    assert len(google.fake.requests("POST jobs")) > 1, "gcloud repeats it"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "body": ["", "Quota exceeded for quota metric 'Write requests'."]},
        {"status": 500, "body": ["", "Internal error encountered."]},
        {"status": 502, "body": "<html><title>Error 502 (Server Error)!!1</title></html>"},
        {"status": 503, "body": ["", "The service is currently unavailable."]},
        {"drop": True},
    ],
    ids=lambda fault: str(fault.get("status", "dropped")),
)
def test_a_submission_that_failed_for_a_passing_reason_is_tried_again(google, fault):
    google.fake.fault("POST jobs", times=30, **fault)
    attempt = google.once(google.job())

    assert attempt.outcome == "transient", attempt.said


@pytest.mark.parametrize(
    ("variables", "fault", "words"),
    [
        ({"image": "nope"}, {}, "Image 'nope' not found."),
        ({}, {"status": 400, "body": ["", "Invalid value specified for cpu."]}, "INVALID_ARGUMENT: Invalid value"),
        ({}, {"status": 403, "body": ["", "Permission 'run.jobs.create' denied."]}, "Permission 'run.jobs.create'"),
    ],
)
def test_a_submission_that_is_refused_is_refused_in_googles_words_and_leaves_nothing(google, variables, fault, words):
    if fault:
        google.fake.fault("POST jobs", times=9, **fault)

    assert words in google.refusal(**variables)
    assert google.fake.state == {"jobs": {}, "executions": {}}


def test_where_start_tokens_are_not_known_there_is_no_job_and_nothing_is_left(google):
    google.fake.settings(knows_tokens=False)
    google.recipe.policy.__dict__["retry_for"] = 1
    google.refusal()

    assert google.fake.state == {"jobs": {}, "executions": {}}


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 401, "body": ["", "Request had invalid authentication credentials."]},
        {"status": 403, "body": ["", "Permission 'run.executions.list' denied."]},
        {"status": 502, "body": "<html><title>Error 502 (Server Error)!!1</title></html>"},
        {"drop": True},
    ],
    ids=lambda fault: str(fault.get("status", "dropped")),
)
def test_nothing_is_known_of_executions_while_google_does_not_say_so(google, fault):
    job = google.submitted("sleep 60")
    google.fake.fault("GET executions", times=30, **fault)
    report = google.report(job)

    assert report.statuses[job].state is JobState.UNKNOWN
    assert report.trouble


def test_an_execution_that_takes_too_long_has_failed(google):
    job = google.submitted("sleep 60", time_limit=1)

    assert google.until(job, JobState.FAILED).reason.endswith("The configured timeout was reached.")


def test_a_signal_is_shown_and_the_last_lines_are_in_their_order(google):
    job = google.submitted("sh -c 'echo one; echo json two; printf \"three\\n\\nfour\\n\"; kill -9 $$'")
    status = google.until(job, JobState.FAILED)
    explained = asyncio.run(google.driver.explain(job, status))

    assert (explained.exit_code, explained.reason) == (137, "The container exited with an error.")
    assert asyncio.run(google.driver.logs(job)).splitlines() == ["one", "json two", "three", "", "four", "Killed"]


def test_the_environment_is_in_no_file_of_gclouds(google):
    secret = uuid.uuid4().hex
    job = google.submitted("sh -c 'echo here'", {"PREFECT_API_KEY": secret})
    google.until(job, JobState.SUCCEEDED)
    asyncio.run(google.driver.logs(job))
    files = [path for path in Path(os.environ["CLOUDSDK_CONFIG"]).rglob("*") if path.is_file()]

    assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert secret not in str([command.argv for command in google.commands])


def test_the_service_account_of_a_credentials_block_is_used_by_all_commands(google, monkeypatch, tmp_path):
    monkeypatch.delenv("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE")
    monkeypatch.setenv("CLOUDSDK_AUTH_TOKEN_HOST", "http://oauth2.test/token")
    google.fake.settings(email="flows@p.iam.gserviceaccount.com")
    key = Path(os.environ["GENERIC_WORKER_TEST_KEY"]).read_text()
    account = {
        "type": "external_account",
        "client_email": "flows@p.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": key,
        "client_id": "1",
    }
    job = google.submitted("true", gcp={"service_account_info": account})

    assert google.until(job, JobState.SUCCEEDED)
    assert asyncio.run(google.driver.cleanup(job)) == ""
    assert google.fake.state["jobs"] == {}
    where = [path for path in (tmp_path / "state").rglob("*") if path.is_file() and "PRIVATE KEY" in path.read_text()]
    assert [path.stat().st_mode & 0o777 for path in where] == [0o600]
