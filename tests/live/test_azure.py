"""The recipe azure-container-instances with the real az, against a fake of Azure that plays faults.

The error bodies are those of the public documentation; which of them az repeats, passes over or rewords is its own.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from generic_worker.job import JobState

CLIENT = {"client_id": "11111111-2222-4333-8444-555555555555", "tenant_id": "9e8d7c6b-5a49-4838-a726-150413020100"}
CAPACITY = "The requested resource is not available in the location 'westeurope' at this moment. Please retry."
QUOTA = "Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota 'StandardCores' exceeded."
TRANSITION = "The container group 'pf-1' is still transitioning, please retry later."


@pytest.fixture
def azure(cloud):
    return cloud("azure", "azure-container-instances", {"resource_group": "tests"})


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "body": ["SubscriptionRequestsThrottled", "Number of requests exceeded the limit."]},
        {"status": 500, "body": ["InternalServerError", "Encountered internal server error."]},
        {"status": 502, "body": "<html>Bad Gateway</html>"},
        {"status": 503, "body": ["ServiceUnavailable", CAPACITY]},
        {"status": 504, "body": ["ServerTimeout", "The request timed out."]},
        {"status": 409, "body": ["ContainerGroupQuotaReached", QUOTA]},
        {"drop": True},
    ],
    ids=lambda fault: str(fault.get("status", "dropped")),
)
def test_a_submission_that_failed_for_a_passing_reason_is_tried_again(azure, fault):
    azure.fake.fault("PUT", times=30, **fault)
    attempt = azure.once(azure.job())

    assert attempt.outcome == "transient", attempt.said


@pytest.mark.parametrize("how", [{"drop": True}, {"status": 503, "body": ["ServerTimeout", "The request timed out."]}])
def test_a_submission_that_was_done_and_whose_answer_was_lost_makes_one_group_that_runs_once(azure, how, tmp_path):
    azure.fake.settings(pending=3)  # a real one is created for longer than az repeats its request
    azure.fake.fault("PUT", after=True, **how)
    job = azure.submitted(f"sh -c 'echo ran >>{tmp_path}/ran'")

    assert azure.until(job, JobState.SUCCEEDED)
    assert len(azure.fake.requests("PUT")) > 1, "az repeats it"
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert list(azure.fake.state) == [job.key]


@pytest.mark.parametrize(
    ("variables", "fault", "words"),
    [
        ({"resource_group": "nope"}, {}, "(ResourceGroupNotFound) Resource group 'nope' could not be found."),
        ({"image": "no-access"}, {}, "(InaccessibleImage) The image 'no-access' in container group"),
        ({"subscription": "nope"}, {}, "Subscription 'nope' not found. Check the spelling and casing and try again."),
        ({}, {"status": 403, "body": ["AuthorizationFailed", "The client 'c' does not have authorization."]},
         "(AuthorizationFailed) The client 'c' does not have authorization."),
        ({}, {"status": 400, "body": ["InvalidRequestContent", "The request content was invalid."]},
         "(InvalidRequestContent) The request content was invalid."),
    ],
)  # fmt: skip
def test_a_submission_that_is_refused_is_refused_in_azures_own_words(azure, variables, fault, words):
    if fault:
        azure.fake.fault("PUT", times=9, **fault)

    assert words in azure.refusal(**variables)
    assert azure.fake.state == {}


def test_a_group_that_is_never_provisioned_has_failed(azure):
    job = azure.submitted(image="no-provision")

    assert azure.until(job, JobState.FAILED).word == "Provisioning Failed"


def test_a_group_whose_image_cannot_be_pulled_waits_and_says_why(azure):
    job = azure.submitted(image="no-pull")
    azure.until(job, JobState.PENDING)
    while not (status := azure.status(job)).reason:
        assert status.state is JobState.PENDING

    assert status.reason == 'Failed to pull image "no-pull": rpc error: code = NotFound'


def test_a_group_is_pending_before_azure_says_how_it_is(azure):
    azure.fake.settings(unseen=600, pending=0)
    job = azure.submitted("sleep 300")

    assert azure.until(job, JobState.PENDING).word == "Provisioning Succeeded"


def test_the_job_has_ended_when_its_container_has_whatever_others_do(azure):
    azure.fake.settings(sidecar=True)
    job = azure.submitted("sh -c 'exit 4'")
    status = azure.until(job, JobState.FAILED)

    assert (status.word, status.exit_code) == ("Terminated", 4)


def test_of_many_groups_one_that_does_not_exist_is_absent_and_the_others_are_known(azure):
    jobs = [azure.submitted("sleep 300") for _ in range(2)]
    for job in jobs:
        azure.until(job, JobState.RUNNING)
    unknown = azure.job()
    unknown.id = unknown.key
    azure.commands.clear()
    report = azure.report(jobs[0], unknown, jobs[1])

    assert [report.statuses[job].state for job in (*jobs, unknown)] == [
        JobState.RUNNING, JobState.RUNNING, JobState.ABSENT,
    ]  # fmt: skip
    assert not report.trouble
    assert len(azure.commands) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "body": ["ServiceUnavailable", "The service is unavailable."]},
        {"status": 403, "body": ["AuthorizationFailed", "The client 'c' does not have authorization."]},
        {"status": 429, "body": ["TooManyRequests", "The request is being throttled."]},
        {"drop": True},
    ],
    ids=["503", "403", "429", "dropped"],
)
def test_of_many_groups_one_that_cannot_be_shown_is_unknown_although_az_exits_with_0(azure, fault):
    good, hidden = (azure.submitted("sleep 300") for _ in range(2))
    unknown = azure.job()
    unknown.id = unknown.key
    azure.until(good, JobState.RUNNING)
    azure.fake.fault(f"GET .*{hidden.key}", times=30, **fault)
    report = azure.report(good, hidden, unknown)
    states = [report.statuses[job].state for job in (good, hidden, unknown)]

    assert states == [JobState.RUNNING, JobState.UNKNOWN, JobState.ABSENT]
    assert report.trouble


@pytest.mark.parametrize("count", [1, 3])
def test_groups_that_are_all_gone_are_absent(azure, count):
    jobs = [azure.job() for _ in range(count)]
    for job in jobs:
        job.id = job.key

    assert {status.state for status in azure.report(*jobs).statuses.values()} == {JobState.ABSENT}


@pytest.mark.parametrize("variables", [{"resource_group": "gone"}, {"subscription": "gone"}])
def test_nothing_is_known_of_groups_whose_resource_group_or_subscription_cannot_be_found(azure, variables):
    jobs = [azure.job(**variables) for _ in range(2)]
    for job in jobs:
        job.id = job.key

    assert {status.state for status in azure.report(*jobs).statuses.values()} == {JobState.UNKNOWN}


def test_the_environment_is_in_no_file_of_azs_and_not_in_what_azure_shows(azure):
    secret = uuid.uuid4().hex
    job = azure.submitted("sh -c 'echo it is here'", {"PREFECT_API_KEY": secret})
    azure.until(job, JobState.SUCCEEDED)
    files = [path for path in Path(os.environ["AZURE_CONFIG_DIR"]).rglob("*") if path.is_file()]

    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert all(secret not in str(command.argv) for command in azure.commands)


def block(secret):
    return {"azure": {**CLIENT, "client_secret": secret}}


def test_a_service_principal_is_signed_in_once_and_not_in_the_hosts_place(azure, tmp_path, monkeypatch):
    secret = f"{uuid.uuid4().hex}-of-the-block"
    azure.fake.settings(secret=secret)
    host = tmp_path / "host"
    host.mkdir()
    for name in ("config", "clouds.config"):  # which cloud it is; nobody is signed in
        (host / name).write_bytes(Path(os.environ["AZURE_CONFIG_DIR"], name).read_bytes())
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(host))
    jobs = [azure.submitted("true", **block(secret)) for _ in range(2)]
    for job in jobs:
        azure.until(job, JobState.SUCCEEDED)
    azure.commands.clear()

    assert {status.state for status in azure.report(*jobs).statuses.values()} == {JobState.SUCCEEDED}
    assert len(azure.commands) == 1
    assert len(azure.fake.requests("/oauth2/v2.0/token")) < len(azure.fake.requests("PUT")) + 2
    assert "Please run 'az login'" in azure.refusal()
    where = [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    private = {next(one for one in path.parents if one.name.startswith(".shared-")) for path in where}
    assert [path.stat().st_mode & 0o777 for path in private] == [0o700]


def test_a_service_principal_whose_secret_is_wrong_is_refused_and_the_right_one_is_taken_after(azure):
    azure.fake.settings(secret="the-right-secret")

    assert "AADSTS7000215: Invalid client secret provided." in azure.refusal(**block("a-wrong-secret"))
    assert azure.until(azure.submitted("true", **block("the-right-secret")), JobState.SUCCEEDED)
