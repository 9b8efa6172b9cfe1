"""The recipes aws-ecs and aws-batch with the real AWS CLI, against a fake of AWS that runs containers and plays faults.

The error bodies are those of the public API references; what the CLI repeats by itself, and its words, are its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from pathlib import Path

import pytest

from generic_worker.commands.runner import CommandRunner
from generic_worker.job import JobState
from generic_worker.jobs.preflight import preflight

SITES = {
    "aws-ecs": {"cluster": "tests", "task_definition": "tests", "subnets": ["subnet-1"], "region": "us-east-1"},
    "aws-batch": {"queue": "tests", "definition": "tests", "region": "us-east-1"},
}
SUBMIT = {"aws-ecs": "ecs.RunTask", "aws-batch": "batch.submitjob"}
STATUS = {"aws-ecs": "ecs.DescribeTasks", "aws-batch": "batch.describejobs"}
CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
VCPUS = "You've reached the limit on the number of vCPUs you can run concurrently"
ROLE = "arn:aws:iam::123456789012:role/flows"


@pytest.fixture(params=SITES)
def aws(request, cloud, monkeypatch):
    name, _, generation = request.param.partition(" ")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # the CLI repeats a request, but not for half a minute
    site = cloud("aws", name, SITES[name])
    if generation:
        monkeypatch.setenv("PATH", f"{os.environ['GENERIC_WORKER_TEST_AWS_2']}:{os.environ['PATH']}")
    return site


both_generations = pytest.mark.parametrize("aws", [*SITES, *(f"{name} 2" for name in SITES)], indirect=True)
"""The AWS CLI's first generation and its second: each has errors and repetitions of its own."""


@pytest.fixture
def ecs(cloud, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    return cloud("aws", "aws-ecs", SITES["aws-ecs"])


def bodies(site):
    """What was submitted."""
    return [run["body"] for run in site.fake.state["runs"].values()]


@both_generations
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "body": ["ServerException", "Service Unavailable. Please try again later."]},
        {"status": 503, "body": ["ServiceUnavailableException", "Service Unavailable. Please try again later."]},
        {"status": 503, "body": "<html>Service Unavailable</html>"},
        {"status": 429, "body": ["TooManyRequestsException", "Too Many Requests"]},
        {"status": 400, "body": ["ThrottlingException", "Rate exceeded"]},
        {"status": 400, "body": ["ExpiredTokenException", "The security token included in the request is expired"]},
        {"drop": True},
    ],
    ids=["500", "503", "503-html", "429", "throttled", "expired", "dropped"],
)
def test_a_submission_that_failed_for_a_passing_reason_is_tried_again(aws, fault):
    aws.fake.fault(SUBMIT[aws.recipe.name], times=9, **fault)
    attempt = aws.once(aws.job())

    assert attempt.outcome == "transient", attempt.said


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400, "body": ["ClientException", CAPACITY]},
        {"status": 200, "body": {"tasks": [], "failures": [{"reason": CAPACITY}]}},
        {"status": 200, "body": {"tasks": [], "failures": [{"arn": "arn:instance", "reason": "RESOURCE:MEMORY"}]}},
        {"status": 200, "body": {"tasks": [], "failures": [{"reason": "RESOURCE:ENI"}]}},
        {"status": 400, "body": ["ClientException", VCPUS]},
        {"status": 400, "body": ["LimitExceededException", "The limit for the resource has been exceeded."]},
    ],
    ids=["capacity", "capacity-as-failure", "memory", "interfaces", "vcpus", "limit"],
)
def test_a_task_for_which_there_is_no_room_now_is_tried_again(ecs, fault):
    ecs.fake.fault("ecs.RunTask", times=1, **fault)
    job = ecs.submitted()

    assert ecs.until(job, JobState.SUCCEEDED)
    assert len(ecs.fake.requests("ecs.RunTask")) == 2


@both_generations
@pytest.mark.parametrize("how", [{"drop": True}, {"status": 503, "body": ["ServiceUnavailable", "Try again later."]}])
def test_a_submission_that_was_done_and_whose_answer_was_lost_makes_one_job(aws, how, tmp_path):
    aws.fake.fault(SUBMIT[aws.recipe.name], after=True, **how)
    job = aws.submitted(f"sh -c 'echo ran >>{tmp_path}/ran; sleep 5'")

    assert aws.until(job, JobState.SUCCEEDED)
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert list(aws.fake.state["runs"]) == [job.id]
    # ECS knows the client token again; Batch would start another job, and so is asked once only
    assert len(aws.fake.requests(SUBMIT[aws.recipe.name])) == {"aws-ecs": 2, "aws-batch": 1}[aws.recipe.name]


@both_generations
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDeniedException", "User: u is not authorized to perform the operation"),
        ("UnrecognizedClientException", "The security token included in the request is invalid."),
        ("InvalidSignatureException", "Signature expired: 20261126T100000Z is now earlier than 20261126T120000Z"),
        ("ClientException", "It does not exist."),
    ],
)
def test_a_submission_that_is_refused_is_refused_in_the_words_of_aws(aws, code, words):
    aws.fake.fault(SUBMIT[aws.recipe.name], status=400, body=[code, words])

    assert f"({code}) when calling the" in (said := aws.refusal())
    assert words in said
    assert len(aws.fake.requests()) == 1, "there is nothing to look up"


def test_a_task_with_more_environment_than_ecs_allows_is_refused(ecs):
    job = ecs.job(env={"LONG": 8192 * "x"})

    assert ecs.once(job).outcome == "refused"


def test_without_a_region_or_credentials_there_is_no_job(aws, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "You must specify a region." in aws.refusal(region=None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "Unable to locate credentials" in aws.refusal()


@both_generations
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400, "body": ["ThrottlingException", "Rate exceeded"]},
        {"status": 400, "body": ["ExpiredTokenException", "The security token included in the request is expired"]},
        {"status": 503, "body": "<html>Service Unavailable</html>"},
        {"drop": True},
    ],
    ids=["throttled", "expired", "503", "dropped"],
)
def test_nothing_is_known_of_jobs_while_aws_does_not_say_so(aws, fault):
    jobs = [aws.submitted("sleep 60") for _ in range(2)]
    aws.fake.fault(STATUS[aws.recipe.name], times=9, **fault)
    report = aws.report(*jobs)

    assert {status.state for status in report.statuses.values()} == {JobState.UNKNOWN}
    assert report.trouble


def planted(name, **more):
    """A task as it is asked for by its ARN."""
    arn = f"arn:aws:ecs:us-east-1:123456789012:task/tests/{name}"
    return {"taskArn": arn, "lastStatus": "STOPPED", "containers": [{"name": "prefect"}], **more}


ENDS = {
    "no-code": ({"stopCode": "EssentialContainerExited"}, JobState.FINISHED),
    "nothing": ({}, JobState.FINISHED),
    "deleted": ({"lastStatus": "DELETED"}, JobState.FINISHED),
    "deleted-0": ({"lastStatus": "DELETED", "containers": [{"name": "prefect", "exitCode": 0}]}, JobState.SUCCEEDED),
    "pull": (
        {"stopCode": "TaskFailedToStart", "stoppedReason": "CannotPullContainerError: not found"},
        JobState.FAILED,
    ),
    "spot": ({"stopCode": "SpotInterruption", "stoppedReason": "Your Spot Task was interrupted."}, JobState.FAILED),
    "user": ({"stopCode": "UserInitiated", "stoppedReason": "Cancelled by Prefect"}, JobState.CANCELLED),
    "oom": (
        {"stopCode": "EssentialContainerExited", "containers": [{"name": "prefect", "exitCode": 137, "reason": "OOM"}]},
        JobState.FAILED,
    ),
    "denied": ({"failure": {"reason": "ACCESS_DENIED"}}, JobState.UNKNOWN),
    "words": ({"failure": {"reason": "something that nobody has seen"}}, JobState.UNKNOWN),
}


def test_every_end_of_a_task_is_one_and_a_failure_of_the_query_is_none(ecs):
    tasks = {name: planted(name, **more) for name, (more, _) in ENDS.items()}
    for task in tasks.values():
        if "failure" in task:
            task["failure"]["arn"] = task["taskArn"]
    ecs.fake.settings(tasks=list(tasks.values()))
    jobs = {name: ecs.job() for name in tasks}
    for name, job in jobs.items():
        job.id = tasks[name]["taskArn"]
    report = ecs.report(*jobs.values())

    assert {name: report.statuses[job].state for name, job in jobs.items()} == {
        name: state for name, (_, state) in ENDS.items()
    }
    assert report.statuses[jobs["pull"]].reason == "CannotPullContainerError: not found"
    gone = ecs.job()
    gone.id = planted("gone")["taskArn"]
    assert ecs.status(gone).state is JobState.ABSENT


def test_an_aws_cli_that_is_too_old_is_told_from_one_that_works(aws, monkeypatch):
    variables = SITES[aws.recipe.name]
    assert asyncio.run(preflight(aws.recipe, CommandRunner(), variables)) == []
    monkeypatch.setenv("PATH", f"{os.environ['GENERIC_WORKER_TEST_OLD_AWS']}:{os.environ['PATH']}")
    monkeypatch.setenv("AWS_PAGER", "")
    problems = asyncio.run(preflight(aws.recipe, CommandRunner(), variables))
    if aws.recipe.name == "aws-batch":  # the old one knows AWS_ENDPOINT_URL as little, and asks AWS itself
        assert "does not know" not in str(problems)
        return
    (problem,) = problems
    assert "aws-cli/2.9.19" in problem
    assert (
        "is too old: it does not know clientToken, which keeps a task from being started twice. "
        "The first that do are 1.29.85 and 2.13.35."
    ) in problem


MADE = {"task_definition": None, "image": "prefecthq/prefect:3-latest", "log_group": "flows"}


def test_a_task_definition_is_made_once_of_an_image_and_found_again_by_its_content(ecs):
    first, again = ecs.submitted(**MADE), ecs.submitted(**MADE)
    Path(f"{again.values['file_definition']}.registered").unlink()  # another worker has none
    later, other = ecs.submitted(**MADE), ecs.submitted(**MADE | {"cpu": 256, "memory": 512})
    definitions = ecs.fake.state["definitions"]
    one_name, other_name = definitions

    for job in (first, again, later, other):
        assert ecs.until(job, JobState.SUCCEEDED)
    assert [one["revision"] for one in definitions.values()] == [1, 1]
    assert [(one["cpu"], one["memory"]) for one in definitions.values()] == [("1024", "2048"), ("256", "512")]
    one = definitions[one_name]
    (container,) = one["containerDefinitions"]
    assert (one["networkMode"], one["requiresCompatibilities"]) == ("awsvpc", ["FARGATE"])
    assert container["image"] == "prefecthq/prefect:3-latest"
    assert container["logConfiguration"]["options"] == {
        "awslogs-group": "flows", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "ecs",
    }  # fmt: skip
    assert [body["taskDefinition"] for body in bodies(ecs)] == [one_name, one_name, one_name, other_name]


def test_where_no_definition_can_be_made_there_is_no_job(ecs):
    ecs.fake.fault("RegisterTaskDefinition", status=400, body=["AccessDeniedException", "not authorized"])

    assert "when calling the RegisterTaskDefinition operation: not authorized" in ecs.refusal(**MADE)


def test_without_subnets_a_task_gets_those_of_the_default_vpc_and_a_public_address(ecs):
    ecs.submitted(subnets=[], security_groups=["sg-1", "sg-2"])
    ecs.submitted()

    assert [body["networkConfiguration"]["awsvpcConfiguration"] for body in bodies(ecs)] == [
        {"subnets": ["subnet-a", "subnet-b"], "securityGroups": ["sg-1", "sg-2"], "assignPublicIp": "ENABLED"},
        {"subnets": ["subnet-1"], "securityGroups": [], "assignPublicIp": "DISABLED"},
    ]


def test_a_job_has_the_tags_that_it_is_given(aws):
    aws.submitted(tags={"team": "weather"})
    tags = {"aws-ecs": [{"key": "team", "value": "weather"}], "aws-batch": {"team": "weather"}}

    assert [body["tags"] for body in bodies(aws)] == [tags[aws.recipe.name]]


def test_an_api_key_that_is_in_a_secret_is_in_no_request(ecs):
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prefect"
    key = uuid.uuid4().hex
    ecs.submitted(env={"PREFECT_API_KEY": key, "OTHER": "1"}, **MADE, api_key_secret=secret)
    (definition,) = ecs.fake.state["definitions"].values()

    assert definition["containerDefinitions"][0]["secrets"] == [{"name": "PREFECT_API_KEY", "valueFrom": secret}]
    assert key not in json.dumps(ecs.fake.state)
    assert '"OTHER"' in json.dumps(bodies(ecs))


def test_the_role_that_the_credentials_name_is_assumed_once_for_all_commands(aws, tmp_path):
    aws.fake.settings(access_key=f"ASSUMED{ROLE[-4:]}")
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "a-secret-of-the-block"}
    block = {**keys, "assume_role_arn": ROLE, "assume_role_kwargs": {"ExternalId": "outside"}}
    jobs = [aws.submitted(aws=block) for _ in range(2)]
    for job in jobs:
        assert aws.until(job, JobState.SUCCEEDED)

    assert aws.fake.requests("sts.") == ["sts.AssumeRole"]
    assert "UnrecognizedClientException" in aws.refusal()
    (kept,) = (path for path in tmp_path.rglob("role") if path.is_file())
    assert kept.stat().st_mode & 0o777 == 0o600
    seen = [word for command in aws.commands for word in command.argv]
    assert not [word for word in seen if "a-secret-of-the" in word]


def test_a_role_that_cannot_be_assumed_is_told_and_there_is_no_job(aws):
    aws.fake.fault("sts.AssumeRole", times=9, status=403, body=(
        "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform: "
        "sts:AssumeRole</Message></Error></ErrorResponse>"
    ))  # fmt: skip

    assert "not authorized to perform: sts:AssumeRole" in aws.refusal(aws={"assume_role_arn": ROLE})
