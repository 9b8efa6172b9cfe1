import asyncio
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    temporary_settings,
)
from prefect.states import Scheduled

from generic_worker.errors import RecipeError, VariableError
from generic_worker.library.loading import load
from generic_worker.library.template import base_job_template
from generic_worker.worker.configuration import (
    GenericWorkerJobConfiguration,
    GenericWorkerVariables,
    checked_variables,
    pool_variables,
)

RECIPE = {
    "recipe": 1,
    "name": "mine",
    "variables": {
        "queue": {"type": "string", "default": "batch", "enum": ["batch", "long"]},
        "cpus": {"type": "integer", "minimum": 1},
        "login": {"block": "demo-login"},
    },
    "submit": {"run": ["go", "${queue}", "--cpus=${cpus}", "${login.user}"], "output": {"regex": "(?P<id>.+)"}},
    "status": {"run": ["look"], "output": {"columns": ["id", "state"]}},
    "cancel": {"run": ["stop", "${job_id}"]},
    "states": {"succeeded": ["ok"]},
}


def flow_run(**changes):
    state = Scheduled()
    fields = {"id": uuid4(), "flow_id": uuid4(), "name": "brave-hare", "state": state, "state_id": state.id}
    return FlowRun(**{**fields, **changes})


def prepared(run=None, **fields):
    configuration = GenericWorkerJobConfiguration(recipe=RECIPE, **fields)
    configuration.prepare_for_flow_run(run or flow_run())
    return configuration


def test_variables_have_their_values_their_defaults_or_none():
    recipe = load(RECIPE).recipe

    assert checked_variables(recipe, {"cpus": 4}) == {"queue": "batch", "cpus": 4, "login": None}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cpus": 0}, "mine: the variable cpus has a value that does not suit it: 0 is less than the minimum of 1."),
        (
            {"queue": "x"},
            "mine: the variable queue has a value that does not suit it: 'x' is not one of ['batch', 'long'].",
        ),
        ({"cpu": 1}, "mine: the recipe has no variable 'cpu'; it has queue, cpus, login."),
    ],
)
def test_a_value_that_does_not_suit_its_variable_is_refused(values, message):
    with pytest.raises(VariableError) as caught:
        checked_variables(load(RECIPE).recipe, values)

    assert message == str(caught.value)


def test_a_required_variable_must_have_a_value():
    with pytest.raises(VariableError, match="mine: the variable cpus is required and has no value."):
        checked_variables(load({**RECIPE, "required": ["cpus"]}).recipe, {})


def test_a_wrong_recipe_is_refused_with_its_own_message():
    with pytest.raises(RecipeError) as caught:
        GenericWorkerJobConfiguration(recipe={**RECIPE, "sumbit": {}})

    assert str(caught.value).lower() == "recipe: sumbit: unknown key. did you mean 'submit'?"


def test_only_the_settings_that_a_flow_run_needs_reach_its_job():
    secret = "postgresql+asyncpg://user:password@host/db"
    with temporary_settings(
        {PREFECT_API_URL: "http://api", PREFECT_API_KEY: "pnu_1", PREFECT_SERVER_DATABASE_CONNECTION_URL: secret}
    ):
        env = prepared().env

    assert env["PREFECT_API_URL"] == "http://api"
    assert env["PREFECT_API_KEY"] == "pnu_1"
    assert secret not in env.values()
    assert not [name for name in env if name.startswith(("PREFECT_SERVER", "PREFECT_HOME", "PREFECT_WORKER"))]


def test_a_deployment_removes_a_setting_by_giving_it_no_value():
    with temporary_settings({PREFECT_API_KEY: "pnu_1"}):
        assert "PREFECT_API_KEY" not in prepared(env={"PREFECT_API_KEY": None}).env


def test_a_jobs_name_cannot_show_the_workers_environment(monkeypatch):
    monkeypatch.setenv("WORKER_SECRET", "hush")

    assert prepared(name="a {{ $WORKER_SECRET }} b").name == "a  b"


def test_a_jobs_name_may_hold_the_names_of_its_run():
    assert prepared(name="run {{ ctx.flow_run.name }}").name == "run brave-hare"


def test_a_job_has_the_names_that_expressions_may_use():
    run = flow_run()
    job = prepared(run, variables={"cpus": 2}, labels={"team": "x"}).job(run)

    assert job.values["cpus"] == 2
    assert job.values["command"] == "prefect flow-run execute"
    assert job.values["flow_run_id"] == str(run.id)
    assert job.values["env"]["PREFECT__FLOW_RUN_ID"] == str(run.id)
    assert job.values["labels"]["team"] == "x"
    assert job.values["job_name"] == "brave-hare"


def run_resolved(template, values):
    return asyncio.run(GenericWorkerJobConfiguration.from_template_and_values(template, values, client=object()))


def test_a_pools_template_gives_a_deployments_values_to_the_recipe():
    configuration = run_resolved(base_job_template(load(RECIPE)), {"queue": "long", "env": {"A": "1"}})

    assert configuration.variables == {"queue": "long", "cpus": None, "login": None}
    assert configuration.env == {"A": "1"}


def test_a_template_that_has_lost_its_recipe_is_refused_and_no_other_recipe_taken():
    template = base_job_template(load(RECIPE))
    del template["job_configuration"]["recipe"]

    with pytest.raises(VariableError) as caught:
        run_resolved(template, {})

    assert str(caught.value) == (
        "recipe: the base job template has no recipe. Make one with: generic-worker template RECIPE."
    )


def test_a_pools_owner_may_hard_code_mix_and_leave_out_variables():
    template = base_job_template(load(RECIPE))
    template["job_configuration"]["variables"] = {"queue": "{{ kind }}", "cpus": 8}
    template["variables"]["properties"]["kind"] = {"type": "string"}

    assert run_resolved(template, {"kind": "long"}).variables == {"queue": "long", "cpus": 8, "login": None}
    assert run_resolved(template, {}).variables == {"queue": "batch", "cpus": 8, "login": None}


def test_a_deployment_chooses_a_recipe_by_name_where_the_owner_lets_it():
    template = base_job_template(load("process"))
    template["job_configuration"]["recipe"] = "{{ recipe }}"
    template["variables"]["properties"]["recipe"] = {"type": "string", "default": "process"}

    assert run_resolved(template, {}).loaded_recipe.name == "process"
    template["job_configuration"]["variables"] = {}
    assert run_resolved(template, {"recipe": "slurm"}).loaded_recipe.name == "slurm"


def test_a_deployment_cannot_have_a_file_read_by_naming_it_as_a_recipe_to_extend(tmp_path):
    template = base_job_template(load("process"))
    template["variables"]["properties"]["base"] = {"type": "string", "default": "process"}
    template["job_configuration"] |= {"recipe": {"recipe": 1, "name": "own", "extends": "{{ base }}"}, "variables": {}}

    assert run_resolved(template, {}).loaded_recipe.name == "own"
    for path in (tmp_path / "no-such.yaml", "/proc/self/environ", "../x"):
        with pytest.raises(VariableError, match="recipe: a deployment can choose a recipe by its name only."):
            run_resolved(template, {"base": str(path)})


@pytest.mark.parametrize("shape", ["path", "text", "mapping"])
def test_a_deployment_cannot_bring_a_recipe_of_its_own(shape, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("extends: process\nname: own\n")
    template = base_job_template(load("process"))
    template["job_configuration"] |= {"recipe": "{{ recipe }}", "variables": {}}
    chosen = {"path": str(path), "text": "extends: process\nname: own\n", "mapping": dict(RECIPE)}[shape]

    with pytest.raises(VariableError, match="recipe: a deployment can choose a recipe by its name only."):
        run_resolved(template, {"recipe": chosen})


def test_the_form_has_the_same_common_variables_as_the_variables_class():
    common = set(GenericWorkerVariables.model_json_schema()["properties"])
    template = base_job_template(load("process"))

    assert common <= set(template["variables"]["properties"])
    assert common | {"recipe", "variables"} == set(template["job_configuration"])


def test_what_a_pool_gives_by_itself_is_what_is_hard_coded_and_the_defaults_of_its_form():
    template = {
        "job_configuration": {
            "recipe": "process",
            "variables": {
                "namespace": "{{ namespace }}",
                "context": "of-the-owner",
                "image": "registry.example/{{ image }}",
                "queue": "{{ queue }}",
                "aws": "{{ aws }}",
            },
        },
        "variables": {
            "properties": {
                "namespace": {"type": "string", "default": "flows"},
                "image": {"type": "string", "default": "flow:3"},
                "queue": {"type": "string"},
                "aws": {"default": {"$ref": {"block_document_id": "1"}}},
            }
        },
    }

    assert pool_variables(template) == {
        "namespace": "flows", "context": "of-the-owner", "image": "registry.example/flow:3",
    }  # fmt: skip


def test_a_template_of_an_older_make_gives_none():
    assert pool_variables({"job_configuration": {"recipe": "process"}, "variables": {}}) == {}
