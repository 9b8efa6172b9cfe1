import asyncio

from generic_worker.commands.runner import CommandRunner
from generic_worker.jobs.preflight import missing_programs, preflight
from generic_worker.library.loading import load

RECIPE = {
    "recipe": 1,
    "name": "mine",
    "variables": {"code": {"type": "integer", "default": 0}},
    "submit": {"run": ["go"], "output": {"regex": "(?P<id>.+)"}},
    "status": {"run": ["look"], "output": {"columns": ["id", "state"]}},
    "cancel": {"run": ["stop", "${job_id}"]},
    "states": {"succeeded": ["ok"]},
}


def problems(**changes):
    return asyncio.run(preflight(load({**RECIPE, **changes}).recipe, CommandRunner()))


def test_a_recipe_whose_programs_are_here_has_no_problem():
    assert problems(requires=["sh"]) == []


def test_a_program_that_is_missing_is_named():
    assert problems(requires=["sh", "no-such-program"]) == [
        "mine needs no-such-program, which is not on the worker's PATH."
    ]


def test_programs_are_looked_up_on_the_recipes_own_path(tmp_path):
    tool = tmp_path / "my-tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)

    assert missing_programs(load({**RECIPE, "requires": ["my-tool"], "env": {"PATH": str(tmp_path)}}).recipe) == []


def test_programs_of_the_far_side_are_not_looked_up_here():
    assert missing_programs(load({**RECIPE, "requires": ["sbatch-there"], "via": {"run": ["ssh", "x"]}}).recipe) == []


def test_the_check_command_decides_whether_the_infrastructure_can_be_used():
    check = {"run": 'echo "the service is down" >&2; exit "$code"'}

    assert problems(check=check) == []
    (problem,) = problems(check=check, variables={"code": {"type": "integer", "default": 4}})
    assert problem.startswith("mine: check: `/bin/sh -c ")
    assert " exited 4 after " in problem
    assert problem.endswith("\n    the service is down")


def test_what_the_check_command_prints_is_masked():
    variables = {"login": {"type": "string", "format": "password", "default": "s3cret-login"}}
    (problem,) = problems(check={"run": 'echo "no $login" >&2; exit 1'}, variables=variables)

    assert problem.endswith("\n    no ********")
