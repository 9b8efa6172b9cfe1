"""The recipe kubernetes with the real kubectl, against a fake of the Kubernetes API that runs pods and plays faults.

The fake holds manifests to the published schema of Kubernetes; pods that are planted are as Kubernetes 1.36 lists them,
shortened. On a real cluster the recipe is tried by `test_try.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from generic_worker.job import JobState
from generic_worker.language.structures import render_structure

NOTES_TERM = Path(__file__).parents[1] / "fakes" / "notes_term.py"
KEY = "generic-worker/key"


@pytest.fixture
def kubernetes(cloud):
    return cloud("kubernetes", "kubernetes", {})


def manifest(site):
    """The one Job that there is, as it was submitted."""
    (job,) = site.fake.state["jobs"].values()
    return job


def a_pod(key, state, *, phase="Running", deleted=None, conditions=(), name="flow"):
    """A pod as the API lists it."""
    metadata = {"name": f"{key}-x", "labels": {KEY: key, "job-name": key}}
    if deleted is not None:
        then = datetime.now(timezone.utc) + timedelta(seconds=deleted)
        metadata["deletionTimestamp"] = then.strftime("%Y-%m-%dT%H:%M:%SZ")
    statuses = [{"name": name, "state": state}] if state else []
    return {
        "metadata": metadata,
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": statuses},
    }


def a_job(key, *conditions):
    return {"metadata": {"name": key, "labels": {KEY: key}}, "status": {"conditions": list(conditions)}}


def known(site, **planted):
    """What is said of a job that is planted, and not submitted."""
    job = site.job()
    job.id = job.key
    site.fake.settings(**json.loads(json.dumps(planted).replace("KEY", job.key)))
    return site.status(job)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "body": ["TooManyRequests", "the server has received too many requests"]},
        {"status": 500, "body": ["InternalError", "etcdserver: leader changed"]},
        {"status": 503, "body": ["ServiceUnavailable", "the server is currently unable to handle the request"]},
        {"status": 504, "body": ["Timeout", "request did not complete within requested timeout"]},
        {"drop": True},
    ],
    ids=["429", "500", "503", "504", "dropped"],
)
def test_a_submission_that_failed_for_a_passing_reason_is_tried_again(kubernetes, fault):
    kubernetes.fake.fault("POST jobs", times=30, **fault)
    attempt = kubernetes.once(kubernetes.job())

    assert attempt.outcome == "transient", attempt.said


@pytest.mark.parametrize("how", [{"drop": True}, {"status": 504, "body": ["Timeout", "it took too long"]}])
def test_a_submission_that_was_done_and_whose_answer_was_lost_makes_one_job(kubernetes, how, tmp_path):
    kubernetes.fake.fault("POST jobs", after=True, **how)
    job = kubernetes.submitted(f"sh -c 'echo ran >>{tmp_path}/ran'")

    assert kubernetes.until(job, JobState.SUCCEEDED)
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert manifest(kubernetes)["metadata"]["name"] == job.id


@pytest.mark.parametrize(
    ("variables", "fault", "words"),
    [
        ({"namespace": "nope"}, {}, 'namespaces "nope" not found'),
        ({"volumes": [{"name": "x", "hostPaht": {"path": "/x"}}]}, {}, "'hostPaht' was unexpected"),
        ({}, {"status": 403, "body": ["Forbidden", "jobs.batch is forbidden: exceeded quota: q"]}, "exceeded quota: q"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_refused_is_refused_in_the_servers_own_words(kubernetes, variables, fault, words):
    if fault:
        kubernetes.fake.fault("POST jobs", times=9, **fault)

    assert words in kubernetes.refusal(**variables)
    assert kubernetes.fake.state["jobs"] == {}


def test_job_and_pod_have_labels_that_are_valid_and_a_name_that_can_be_read(kubernetes):
    job = kubernetes.job(annotations={"note": "any text"})
    job.values |= {"flow_run_name": "Nightly Load #3", "labels": {"team": "a b c", "-odd key-": "x"}}
    assert kubernetes.once(job).outcome == "submitted"
    made = manifest(kubernetes)
    labels = {"team": "a-b-c", "odd-key": "x", KEY: job.key}

    assert job.id == made["metadata"]["name"] == f"nightly-load-3-{job.key[-13:]}"
    for metadata in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert metadata["labels"] == labels
        assert metadata["annotations"] == {"note": "any text"}


def test_everything_of_a_pod_that_has_a_variable_is_valid_by_the_published_schema(kubernetes):
    kubernetes.submitted(
        image_pull_secrets=["s"], service_account="default", cpu_request="500m", cpu_limit="2", memory_limit="2Gi",
        node_selector={"disk": "ssd"}, tolerations=[{"key": "k", "operator": "Exists"}], time_limit=60,
        env_from=[{"configMapRef": {"name": "c"}}], volumes=[{"name": "v", "emptyDir": {}}],
        volume_mounts=[{"name": "v", "mountPath": "/v"}], annotations={"a": "b"},
        env_value_from=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    )  # fmt: skip
    flow = manifest(kubernetes)["spec"]["template"]["spec"]["containers"][0]

    assert flow["env"][-1] == {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


def test_the_environment_is_in_a_secret_that_belongs_to_its_job_and_goes_with_it(kubernetes, tmp_path):
    value = "a $(HOME) $$\nline 2"
    job = kubernetes.submitted(f"sh -c 'printenv WORD >{tmp_path}/word'", {"WORD": value}, secret_environment=True)
    kubernetes.until(job, JobState.SUCCEEDED)
    state = kubernetes.fake.state

    assert (tmp_path / "word").read_text() == f"{value}\n"
    assert "line 2" not in str(state["jobs"])
    assert state["secrets"][job.key]["metadata"]["ownerReferences"][0]["uid"] == manifest(kubernetes)["metadata"]["uid"]

    asyncio.run(kubernetes.driver.cleanup(job))
    assert kubernetes.fake.state["secrets"] == {}


def test_the_end_of_a_job_is_that_of_its_container_whatever_others_do(kubernetes):
    kubernetes.fake.settings(sidecar=True)
    job = kubernetes.submitted("sh -c 'exit 4'")
    status = kubernetes.until(job, JobState.FAILED)

    assert (status.word, status.exit_code, status.reason) == ("terminated", 4, "Error")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("no-pull", 'waiting (Back-off pulling image "no-pull")'),
        ("unschedulable", "Pending (0/1 nodes are available: 1 Insufficient cpu.)"),
    ],
)
def test_a_pod_that_waits_says_why(kubernetes, image, said):
    job = kubernetes.submitted(image=image)

    assert str(kubernetes.until(job, JobState.PENDING)) == said


def test_a_job_without_a_pod_says_which_quota_it_waits_for(kubernetes):
    about = {"involvedObject": {"kind": "Job", "name": "KEY"}, "metadata": {"name": "e"}, "reason": "FailedCreate"}
    quota = 'Error creating: pods "x" is forbidden: exceeded quota: q, limited: count/pods=1'
    status = known(kubernetes, jobs=[a_job("KEY")], events=[{**about, "message": quota}])

    assert (status.state, str(status)) == (JobState.PENDING, f"NoPod ({quota})")


def test_why_a_job_had_no_pod_does_not_keep_its_end_from_being_seen(kubernetes):
    event = {"involvedObject": {"kind": "Job", "name": "KEY"}, "metadata": {"name": "e"}, "message": "exceeded quota"}
    over = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    status = known(kubernetes, jobs=[a_job("KEY", over)], events=[event])

    assert (status.state, str(status)) == (JobState.FAILED, "Failed (DeadlineExceeded)")


def test_events_may_be_hidden_from_the_worker(kubernetes):
    kubernetes.fake.fault("GET events", times=9, status=403, body=["Forbidden", "events is forbidden"])

    assert str(known(kubernetes, jobs=[a_job("KEY")])) == "NoPod"


RUNNING = {"running": {"startedAt": "2026-11-26T15:41:57Z"}}
TAINT = {"type": "DisruptionTarget", "status": "True", "message": "Taint manager: deleting due to NoExecute taint"}
FAILING = {"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"}


@pytest.mark.parametrize(
    ("deleted", "state", "said"),
    [
        (20, JobState.RUNNING, "running (Taint manager: deleting due to NoExecute taint)"),
        (-60, JobState.RUNNING, "running (Taint manager: deleting due to NoExecute taint)"),
        (-180, JobState.FAILED, "NodeLost (Taint manager: deleting due to NoExecute taint)"),
    ],
)
def test_a_pod_whose_time_to_end_is_long_over_was_on_a_node_that_is_dead(kubernetes, deleted, state, said):
    pod = a_pod("KEY", RUNNING, deleted=deleted, conditions=[TAINT])
    status = known(kubernetes, pods=[pod], jobs=[a_job("KEY", FAILING)])

    assert (status.state, str(status)) == (state, said)


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_pods_of_one_job_the_living_one_counts(kubernetes, order):
    ended = a_pod("KEY", {"terminated": {"exitCode": 137, "reason": "Error"}}, phase="Failed")
    status = known(kubernetes, pods=[ended, a_pod("KEY", RUNNING)][::order])

    assert (status.state, status.word) == (JobState.RUNNING, "running")


@pytest.mark.parametrize(
    ("pod", "state", "said"),
    [
        (a_pod("KEY", None, phase="Failed"), JobState.FAILED, "Failed"),  # evicted before it began
        (a_pod("KEY", RUNNING, phase="Failed"), JobState.FAILED, "Failed"),  # its node was removed
        (a_pod("KEY", RUNNING, phase="Unknown"), JobState.RUNNING, "running"),
        (a_pod("KEY", None, phase="Unknown"), JobState.UNKNOWN, "Unknown"),
        (a_pod("KEY", {"terminated": {"exitCode": 0, "reason": "Completed"}}, phase="Failed"), JobState.SUCCEEDED,
         "terminated (Completed), exit code 0"),
        (a_pod("KEY", {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, phase="Failed"), JobState.FAILED,
         "terminated (OOMKilled), exit code 137"),
    ],
)  # fmt: skip
def test_phases_count_where_the_container_does_not_say_more(kubernetes, pod, state, said):
    status = known(kubernetes, pods=[pod])

    assert (status.state, str(status).removesuffix(" (Error)")) == (state, said)


def test_a_message_cannot_be_taken_for_another_answer(kubernetes):
    nasty = '"}]}\n{"key": "KEY", "phase": "Succeeded"}\n"until": "2020-01-01T00:00:00Z"'
    pod = a_pod("KEY", {"waiting": {"reason": "ErrImagePull", "message": nasty}}, phase="Pending")

    assert known(kubernetes, pods=[pod]).state is JobState.PENDING


def test_a_listing_has_a_few_hundred_bytes_of_each_pod(kubernetes):
    pod = a_pod("KEY", {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, phase="Failed")
    pod["spec"] = {"containers": [{"name": "flow", "env": [{"name": "LONG", "value": 9000 * "x"}]}]}
    kubernetes.fake.settings(pods=300 * [pod])
    printed = subprocess.run(kubernetes.recipe.statuses[0].run, shell=True, check=True, capture_output=True).stdout

    assert 50 * 300 < len(printed) < 400 * 300


@pytest.mark.parametrize("behaviour", ["crash", "reschedule"])
def test_an_eviction_is_told_to_every_process_and_named_as_the_reason(kubernetes, tmp_path, until, behaviour):
    told = f"echo $PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR >how; setsid /usr/bin/python3 {NOTES_TERM}"
    command = f"sh -c 'cd {tmp_path}; {told}'"
    # it is there for so long after the eviction as kubectl may take to be asked
    job = kubernetes.submitted(command, on_eviction=behaviour, termination_grace=300)
    kubernetes.until(job, JobState.RUNNING)
    until((tmp_path / "ready").exists, 60)
    (pod,) = kubernetes.fake.state["pods"]
    evict = ["kubectl", "create", "--raw", f"/api/v1/namespaces/flows/pods/{pod}/eviction", "--filename=-"]
    subprocess.run(evict, input="{}", text=True, check=True, capture_output=True)
    status = kubernetes.status(job)

    until(lambda: (tmp_path / "told").read_text() == "TERM\n", 60)
    assert (tmp_path / "how").read_text() == f"{behaviour}\n"
    assert (status.state, str(status)) == (JobState.RUNNING, "running (Eviction API: evicting)")


def test_a_cluster_is_a_blocks_and_the_hosts_own_is_not_touched(kubernetes, monkeypatch):
    config = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
    config["users"][0]["user"]["token"] = "the-token-of-the-block"
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    kubernetes.fake.settings(token="the-token-of-the-block")
    block = {"cluster": {"config": config, "context_name": "tests"}}

    assert kubernetes.until(kubernetes.submitted("true", **block), JobState.SUCCEEDED)


@pytest.mark.parametrize("user", [{"exec": {"command": "touch"}}, {"tokenFile": "/etc/hostname"}])
def test_a_block_cannot_run_programs_or_read_files_on_the_workers_host(kubernetes, user):
    config = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
    config["users"].append({"name": "other", "user": {**user, "client-key": "/etc/hostname"}})
    config["clusters"].append({"name": "other", "cluster": {"server": "x", "certificate-authority": "/etc/hostname"}})
    block = {"cluster": {"config": config, "context_name": "tests"}}
    rendered = render_structure(kubernetes.recipe.files["kubeconfig"], kubernetes.job(**block).values)

    assert [user["name"] for user in rendered["users"]] == ["tests"]
    assert [cluster["name"] for cluster in rendered["clusters"]] == ["tests"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 401, "body": ["Unauthorized", "Unauthorized"]},
        {"status": 403, "body": ["Forbidden", "no"]},
        {"drop": True},
    ],
)
def test_nothing_is_known_of_jobs_whose_pods_or_jobs_cannot_be_listed(kubernetes, fault):
    job = kubernetes.submitted("sleep 60")
    kubernetes.until(job, JobState.RUNNING)
    kubernetes.fake.fault("GET (pods|jobs)", times=30, **fault)

    assert kubernetes.status(job).state is JobState.UNKNOWN


def test_a_job_that_nobody_has_is_absent_beside_one_that_runs(kubernetes):
    job, unknown = kubernetes.submitted("sleep 60"), kubernetes.job()
    unknown.id = unknown.key
    kubernetes.until(job, JobState.RUNNING)
    report = kubernetes.report(job, unknown)

    assert report.statuses[unknown].state is JobState.ABSENT
    assert not report.trouble
