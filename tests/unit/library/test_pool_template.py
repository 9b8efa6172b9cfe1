"""Applying a recipe to a pool again: what its owner has chosen stays, and all else is the recipe's."""

import copy

import pytest

from generic_worker.errors import PoolError, VariableError
from generic_worker.library.loading import found_recipes, load
from generic_worker.library.pool_changes import changes, concerns_jobs, invalid
from generic_worker.library.pool_template import applied, fixed_values
from generic_worker.library.template import base_job_template

RECIPE = {
    "recipe": 1,
    "name": "launcher",
    "required": ["queue"],
    "variables": {
        "queue": {"type": "string", "description": "Where to wait."},
        "nodes": {"type": "string", "default": "1"},
        "memory": {"type": "integer"},
        "token": {"type": "string", "format": "password"},
    },
    "submit": {"run": ["launch"], "output": {"regex": r"(?P<id>\d+)"}},
    "status": {"run": ["launch", "list"], "output": {"columns": ["id", "state"]}},
    "states": {"running": ["active"], "succeeded": ["done"]},
    "cancel": {"run": ["launch", "kill", "${job_id}"]},
}


def recipe(**different):
    """The recipe with other parts; `variables` are put in the place of those of the same name, and None removes."""
    data = copy.deepcopy(RECIPE)
    variables = {**data["variables"], **different.pop("variables", {})}
    data |= {**different, "variables": {name: schema for name, schema in variables.items() if schema is not None}}
    return load(data)


@pytest.fixture
def pool():
    """A pool of the recipe, as it was made."""
    return base_job_template(recipe())


def fields(template):
    return template["variables"]["properties"]


def texts(found):
    return [f"{change.name}: {change.text}" for change in found]


@pytest.mark.parametrize("name", sorted(found_recipes()))
def test_a_pool_of_any_recipe_is_as_it_was_when_that_is_applied_again(name):
    loaded = load(name)
    template = base_job_template(loaded)

    assert applied(None, loaded) == template
    assert applied(template, loaded) == template
    assert changes(template, template, loaded) == []


def test_a_default_that_the_owner_has_edited_or_cleared_stays_and_others_follow_the_recipe(pool):
    fields(pool)["queue"]["default"] = "long"
    del fields(pool)["nodes"]["default"]
    fields(pool)["env"]["default"] = {"A": "1"}
    loaded = recipe(
        variables={"nodes": {"type": "string", "default": "2"}, "memory": {"type": "integer", "default": 4}}
    )
    new = applied(pool, loaded)

    assert (fields(new)["queue"]["default"], fields(new)["env"]["default"]) == ("long", {"A": "1"})
    assert "default" not in fields(new)["nodes"]
    assert fields(new)["memory"]["default"] == 4
    assert texts(changes(pool, new, loaded)) == [
        'env: your default {"A": "1"} stays',
        'queue: your default "long" stays',
        "nodes: your default none stays",
        "memory: its default is 4, and was none",
    ]


def test_variables_come_go_and_change_their_types(pool):
    fields(pool)["nodes"]["default"] = "2-4"
    fields(pool)["memory"]["default"] = 8
    new_nodes = {"type": "integer", "minimum": 1, "default": 1}
    loaded = recipe(variables={"nodes": new_nodes, "memory": None, "gpus": {"type": "integer", "description": "GPUs."}})
    new = applied(pool, loaded)
    found = changes(pool, new, loaded)

    assert list(fields(new)) == ["name", "env", "labels", "command", "queue", "nodes", "token", "gpus"]
    assert fields(new)["nodes"] == {"title": "Nodes", **new_nodes}
    assert texts(found) == [
        'nodes: type is "integer", and was "string"; minimum is 1, and was none',
        'nodes: your default "2-4" does not suit any more; its default is 1, and was "2-4"',
        "memory: it is gone; it had your default 8",
        "gpus: integer, no default: GPUs.",
    ]
    assert [change.name for change in found if change.breaks] == ["nodes", "memory"]


def test_what_the_owner_has_narrowed_added_or_mixed_stays(pool):
    fields(pool)["queue"]["enum"] = ["short", "long"]
    fields(pool)["place"] = {"type": "string", "default": "here"}
    pool["variables"]["required"].append("place")
    pool["job_configuration"]["variables"]["nodes"] = "{{ place }}-{{ nodes }}"
    pool["job_configuration"]["labels"] = {"team": "physics"}
    new = applied(pool, recipe(cancel={"run": ["launch", "end", "${job_id}"]}))

    assert fields(new)["queue"]["enum"] == ["short", "long"]
    assert fields(new)["place"] == {"type": "string", "default": "here"}
    assert new["variables"]["required"] == ["queue", "place"]
    assert fixed_values(new) == {"labels": {"team": "physics"}, "nodes": "{{ place }}-{{ nodes }}"}


def test_an_entry_of_the_owner_that_needs_a_variable_which_is_gone_is_told(pool):
    pool["job_configuration"]["variables"]["queue"] = "{{ nodes }}-nodes"
    with pytest.raises(PoolError) as refused:
        applied(pool, recipe(variables={"nodes": None}))

    assert str(refused.value) == (
        "job_configuration.variables.queue of the pool has {{ nodes }}, which its form has no more."
    )


def test_a_fixed_variable_leaves_the_form_stays_fixed_and_may_come_back(pool):
    loaded = recipe()
    fixed = applied(pool, loaded, fixes={"queue": "debug", "command": "run-it"})
    again = applied(fixed, loaded)
    back = applied(again, loaded, sets={"queue": "short"})

    assert fixed_values(fixed) == {"queue": "debug", "command": "run-it"}
    assert not {"queue", "command"} & set(fields(fixed))
    assert fixed["variables"]["required"] == []
    assert fixed["variables"]["patternProperties"].keys() >= {"^queue$", "^command$"}
    assert again == fixed
    assert fields(back)["queue"] == {
        "title": "Queue",
        "type": "string",
        "description": "Where to wait.",
        "default": "short",
    }
    assert back["job_configuration"]["variables"]["queue"] == "{{ queue }}"
    assert texts(changes(pool, fixed, loaded)) == [
        'command: it is fixed to "run-it", and not in the form any more',
        'queue: it is fixed to "debug", and not in the form any more',
    ]
    assert texts(changes(fixed, again, loaded)) == [
        'command: it stays fixed to "run-it"',
        'queue: it stays fixed to "debug"',
    ]
    assert texts(changes(again, back, loaded, {"queue"})) == [
        'command: it stays fixed to "run-it"',
        'queue: it is in the form again, with the default "short"',
    ]


def test_a_variable_that_is_fixed_by_hand_and_left_in_the_form_stays_so(pool):
    pool["job_configuration"]["variables"]["nodes"] = "4"

    assert applied(pool, recipe()) == pool


def test_defaults_and_fixed_values_are_checked(pool):
    def refusal(**wishes):
        with pytest.raises(VariableError) as refused:
            applied(pool, recipe(), **wishes)
        return str(refused.value)

    unsuitable = "launcher: the variable memory has a value that does not suit it: 'much' is not of type 'integer'."
    unknown = "launcher: the recipe has no variable 'memroy'; it has queue, nodes, memory, token."

    assert refusal(sets={"memory": "much"}) == refusal(fixes={"memory": "much"}) == unsuitable
    assert refusal(sets={"memroy": 4}) == refusal(fixes={"memroy": 4}) == unknown
    assert refusal(fixes={"queue": "{{ nodes }}"}) == (
        "--fix queue: Prefect takes what is in {{ }} for a placeholder of its own."
    )
    assert refusal(fixes={"env.A": "1"}) == (
        "--fix env.A: what deployments add to env and labels cannot be fixed; --set gives a default."
    )


def test_entries_of_environment_and_labels_have_defaults_of_their_own(pool):
    once = applied(pool, recipe(), sets={"env.A": "1", "labels.team": "physics"})
    twice = applied(once, recipe(), sets={"env.B": "2"})

    assert fields(twice)["env"]["default"] == {"A": "1", "B": "2"}
    assert fields(twice)["labels"]["default"] == {"team": "physics"}


def test_a_password_is_in_no_text(pool):
    loaded = recipe()
    new = applied(pool, loaded, sets={"token": "s3cret"})

    assert texts(changes(pool, new, loaded, {"token"})) == ["token: its default is ********, and was none"]


def test_a_pool_that_has_its_recipe_by_name_goes_on_having_it_so():
    loaded = load("slurm")
    template = base_job_template(loaded, name_only=True)

    assert applied(template, loaded) == template


def test_a_recipe_of_an_older_language_is_no_hindrance(pool):
    pool["job_configuration"]["recipe"] |= {"recipe": 0, "gone_since": True}
    fields(pool)["nodes"]["default"] = "3"
    new = applied(pool, recipe())

    assert fields(new)["nodes"]["default"] == "3"
    assert new["job_configuration"]["recipe"] == recipe().data


def test_a_pool_whose_deployments_choose_the_recipe_is_left_alone(pool):
    pool["job_configuration"]["recipe"] = "{{ recipe }}"
    with pytest.raises(PoolError, match="The pool lets deployments choose its recipe. Change its template by hand."):
        applied(pool, recipe())


def test_differences_of_the_recipe_are_named_and_those_of_submit_do_not_concern_jobs_that_run(pool):
    submit = {**RECIPE["submit"], "timeout": 30}
    other = recipe(submit=submit, description="New.")
    asked = recipe(submit=submit, status={**RECIPE["status"], "timeout": 30}, policy={"poll": 5})

    assert [change.name for change in changes(pool, applied(pool, other), other)] == ["submit.timeout", "description"]
    assert not concerns_jobs(pool, other)
    assert [change.name for change in changes(pool, applied(pool, asked), asked)] == [
        "submit.timeout",
        "status.timeout",
        "policy",
    ]
    assert concerns_jobs(pool, asked)


def test_deployments_that_would_suffer_are_told_why(pool):
    loaded = recipe(required=["queue", "nodes"], variables={"memory": {"type": "string"}, "token": None, "nodes": {}})
    new = applied(pool, loaded, fixes={"queue": "debug"})

    assert invalid(pool, new, {"queue": "long", "memory": 4, "token": "s3cret", "env.A": "1"}) == [
        "memory does not take 4",
        "there is no variable token",
        "nodes is required, and has no value",
        "it sets queue, which has no effect any more",
    ]
    assert invalid(pool, new, {"nodes": "2", "memory": "4"}) == []
    assert invalid(pool, new, {"unheard_of": 1, "nodes": "1"}) == []  # it is refused already
