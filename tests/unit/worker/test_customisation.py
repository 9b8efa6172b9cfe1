"""A pool's owner changes what Prefect's guide to base job templates lets them change, and jobs are as they want."""

import asyncio
import json
from copy import deepcopy
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

from generic_worker.commands.rendering import render, render_files
from generic_worker.errors import RecipeError
from generic_worker.library.loading import load
from generic_worker.library.template import base_job_template
from generic_worker.worker.configuration import GenericWorkerJobConfiguration


def configured(template, values=None):
    return asyncio.run(
        GenericWorkerJobConfiguration.from_template_and_values(deepcopy(template), values or {}, client=object())
    )


def prepared(template, values=None):
    configuration = configured(template, values)
    state = Scheduled()
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="brave-hare", state=state, state_id=state.id)
    configuration.prepare_for_flow_run(run)
    return configuration


def submission(template, values=None):
    """The submit command of a deployment's run in a pool with a template."""
    configuration = prepared(template, values)
    recipe, job = configuration.loaded_recipe, configuration.job(configuration.flow_run)
    return render(recipe, recipe.submit, job.values)


def manifest_of(template, values=None):
    return json.loads(submission(template, values).stdin)


def request_of(template, values=None):
    """What the AWS CLI is told in the private file of a deployment's run."""
    configuration = prepared(template, values)
    recipe, job = configuration.loaded_recipe, configuration.job(configuration.flow_run)
    return json.loads(render_files(recipe, job.values)["request"])


def container_of(manifest):
    return manifest["spec"]["template"]["spec"]["containers"][0]


@pytest.fixture
def kubernetes():
    return base_job_template(load("kubernetes"))


def test_a_deployment_sets_what_the_manifest_leaves_open(kubernetes):
    manifest = manifest_of(kubernetes, {"image": "mine:1", "memory_limit": "2Gi", "image_pull_secrets": ["one", "two"]})

    assert container_of(manifest)["image"] == "mine:1"
    assert container_of(manifest)["resources"] == {"requests": {}, "limits": {"memory": "2Gi"}}
    assert manifest["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]


def test_what_nobody_sets_is_not_in_the_manifest(kubernetes):
    submit = submission(kubernetes)
    manifest = json.loads(submit.stdin)

    assert "namespace" not in manifest["metadata"]
    assert "activeDeadlineSeconds" not in manifest["spec"]
    assert "serviceAccountName" not in manifest["spec"]["template"]["spec"]
    assert "unset context namespace;" in submit.argv[2]


def test_a_value_that_the_owner_hard_codes_cannot_be_set_by_a_deployment(kubernetes):
    kubernetes["job_configuration"]["variables"]["namespace"] = "team-a"
    submit = submission(kubernetes, {"namespace": "kube-system"})

    assert submit.env["namespace"] == "team-a"
    assert json.loads(submit.stdin)["metadata"]["namespace"] == "team-a"


def test_the_owner_mixes_text_and_variables_of_their_own(kubernetes):
    kubernetes["job_configuration"]["variables"]["image"] = "registry.example/{{ team }}/{{ image }}"
    kubernetes["variables"]["properties"]["team"] = {"type": "string", "default": "science"}

    assert container_of(manifest_of(kubernetes, {"image": "a:1"}))["image"] == "registry.example/science/a:1"
    assert container_of(manifest_of(kubernetes, {"image": "a:1", "team": "it"}))["image"] == "registry.example/it/a:1"


def test_the_owner_adds_a_variable_to_the_manifest_in_the_template(kubernetes):
    job = kubernetes["job_configuration"]
    job["recipe"]["variables"]["gpus"] = {"type": "integer", "minimum": 1}
    limits = container_of(job["recipe"]["submit"]["stdin"])["resources"]["limits"]
    limits["nvidia.com/gpu"] = "${gpus}"
    job["variables"]["gpus"] = "{{ gpus }}"
    kubernetes["variables"]["properties"]["gpus"] = {"type": "integer"}

    assert container_of(manifest_of(kubernetes, {"gpus": 2}))["resources"]["limits"] == {"nvidia.com/gpu": 2}
    assert container_of(manifest_of(kubernetes))["resources"]["limits"] == {}


def test_a_recipe_that_extends_another_adds_to_its_manifest():
    addition = {"priorityClassName": "batch", "volumes": [{"name": "scratch", "emptyDir": {}}]}
    recipe = {
        "recipe": 1,
        "name": "mine",
        "extends": "kubernetes",
        "submit": {"stdin": {"spec": {"template": {"spec": addition}}}},
    }
    manifest = manifest_of(base_job_template(load(recipe)), {"service_account": "flows"})

    assert addition.items() <= manifest["spec"]["template"]["spec"].items()
    assert manifest["spec"]["template"]["spec"]["serviceAccountName"] == "flows"
    assert manifest["spec"]["backoffLimit"] == 0


def test_a_placeholder_of_prefects_in_the_recipe_itself_is_refused(kubernetes):
    container_of(kubernetes["job_configuration"]["recipe"]["submit"]["stdin"])["image"] = "{{ image }}"

    with pytest.raises(RecipeError, match=r"Write \$\{image\}"):
        load(kubernetes["job_configuration"]["recipe"])


def test_a_value_cannot_break_out_of_its_place_in_the_manifest(kubernetes):
    nasty = '"}],"hostNetwork":true,"x":[{"a":"${env}\n--- {{ image }}'
    manifest = manifest_of(kubernetes, {"service_account": nasty, "env": {"NASTY": nasty}})

    assert manifest["spec"]["template"]["spec"]["serviceAccountName"] == nasty
    assert "hostNetwork" not in manifest["spec"]["template"]["spec"]


def test_the_environment_reaches_the_container_as_it_is_and_no_argument_holds_it(kubernetes):
    submit = submission(kubernetes, {"env": {"API_TOKEN": "top$$secret $(HOME)\nline 2", "PLAIN": "a"}})
    environment = {one["name"]: one["value"] for one in container_of(json.loads(submit.stdin))["env"]}

    assert environment["API_TOKEN"] == "top$$$$secret $$(HOME)\nline 2"  # Kubernetes reads $$ as $
    assert environment["PLAIN"] == "a"
    assert not [word for word in submit.argv if "top" in word]


AWS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}


@pytest.fixture
def ecs():
    template = base_job_template(load("aws-ecs"))
    template["job_configuration"]["variables"] |= {"subnets": ["subnet-1"], "task_definition": "flows:{{ revision }}"}
    template["variables"]["properties"]["revision"] = {"type": "integer", "default": 7}
    template["variables"]["required"] = []
    return template


def test_a_task_has_what_the_owner_hard_codes_mixes_and_leaves_open(ecs):
    request = request_of(ecs, {"revision": 8, "cpu": 1024, "subnets": ["subnet-of-somebody-else"]})

    assert request["taskDefinition"] == "flows:8"
    assert request["networkConfiguration"]["awsvpcConfiguration"]["subnets"] == ["subnet-1"]
    assert request["overrides"]["cpu"] == "1024"  # the API wants text


def test_a_task_has_nothing_of_what_nobody_sets(ecs):
    request = request_of(ecs)

    assert request["taskDefinition"] == "flows:7"
    assert request["launchType"] == "FARGATE"
    assert set(request["overrides"]) == {"containerOverrides"}
    assert "capacityProviderStrategy" not in request


def test_a_task_has_a_launch_type_or_capacity_providers_and_never_both(ecs):
    spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    request = request_of(ecs, {"capacity_providers": spot})

    assert request["capacityProviderStrategy"] == spot
    assert "launchType" not in request


def test_the_owner_adds_to_the_request_of_a_task(ecs):
    ecs["job_configuration"]["recipe"]["files"]["request"]["enableExecuteCommand"] = True

    assert request_of(ecs)["enableExecuteCommand"] is True


def test_the_identity_of_a_task_fits_what_ecs_allows(ecs):
    request = request_of(ecs)

    assert len(request["clientToken"]) <= 64
    assert len(request["startedBy"]) <= 128
    assert request["startedBy"] == request["clientToken"]


def test_credentials_are_in_the_commands_environment_and_nowhere_else(ecs):
    ecs["job_configuration"]["variables"]["aws"] = AWS | {"region_name": "eu-west-1"}
    submit = submission(ecs)

    assert submit.env["AWS_SECRET_ACCESS_KEY"] == AWS["aws_secret_access_key"]
    assert submit.env["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert "AWS_SESSION_TOKEN" not in submit.env
    assert AWS["aws_secret_access_key"] not in " ".join([*submit.argv, submit.stdin, json.dumps(request_of(ecs))])


def test_without_a_block_the_hosts_own_credentials_serve(ecs):
    assert {name for name in submission(ecs).env if name.startswith("AWS_")} == {"AWS_PAGER"}
