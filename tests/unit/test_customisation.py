"""A pool's owner changes what Prefect's guide to base job templates lets them change, and the job is as they want it."""

import asyncio
import json
from copy import deepcopy
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

from generic_worker.configuration import GenericWorkerJobConfiguration
from generic_worker.errors import RecipeError
from generic_worker.library import load
from generic_worker.rendering import render
from generic_worker.template import base_job_template


def configured(template, values=None):
    return asyncio.run(
        GenericWorkerJobConfiguration.from_template_and_values(deepcopy(template), values or {}, client=object())
    )


def submission(template, values=None):
    """The submit command of a deployment's run in a pool with a template."""
    configuration = configured(template, values)
    state = Scheduled()
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="brave-hare", state=state, state_id=state.id)
    configuration.prepare_for_flow_run(run)
    recipe = configuration.loaded_recipe
    return render(recipe, recipe.submit, configuration.job(run).values)


def manifest_of(template, values=None):
    return json.loads(submission(template, values).stdin)


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
    assert submit.argv == ("kubectl", "create", "--output=name", "--filename=-")


def test_a_value_that_the_owner_hard_codes_cannot_be_set_by_a_deployment(kubernetes):
    kubernetes["job_configuration"]["variables"]["namespace"] = "team-a"
    submit = submission(kubernetes, {"namespace": "kube-system"})

    assert "--namespace=team-a" in submit.argv
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
    assert not [word for word in submit.argv if "secret" in word]
