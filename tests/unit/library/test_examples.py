from textwrap import dedent

import pytest

from generic_worker.library import examples
from generic_worker.library.loading import load

RECIPE = """\
recipe: 1
name: sample
variables: {}
submit:
  run: [launch]
  output: {regex: '^job (?P<id>\\d+)(?: on (?P<cluster>\\w+))?$'}
  transient: try again
find:
  run: [list]
  output: {columns: [id, key], separator: '|'}
  absent: nothing here
status:
  - run: [list]
    output: {columns: [id, state, exit_code]}
  - run: [history, '${job_id}']
    output: {regex: '^(?P<state>\\w+)$'}
    absent: no such job
states:
  pending: [waiting]
  running: [active]
  finished: [done]
explain:
  run: [show, '${job_id}']
  output: {columns: [exit_code, reason]}
cancel:
  run: [stop, '${job_id}']
examples:
"""


def recipe_with(example):
    lines = dedent(example).strip("\n").splitlines()
    return load(RECIPE + "  - " + "\n    ".join(lines) + "\n", "sample.yaml")


def problems(example):
    return [str(problem) for problem in examples.problems(recipe_with(example))]


@pytest.mark.parametrize(
    "example",
    [
        "of: submit\nstdout: job 17 on cobalt\nexpect: {id: 17, cluster: cobalt}",
        "of: submit\nstdout: job 17\nexpect: {id: '17'}",
        "of: submit\nstdout: job 17\nexpect: {id: '17', cluster: null}",
        "of: submit\nexit: 1\nexpect: ambiguous",
        "of: submit\nexit: 1\nstderr: try again\nexpect: transient",
        "of: submit\nexit: 137\nexpect: transient",
        "of: submit\nexpect: transient",
        "of: find\nstdout: 17|pf-1\nexpect: {id: 17}",
        "of: find\nstdout: 17|pf-1\nexpect: {id: 17, key: pf-1}",
        'of: find\nstdout: "16|pf-0\\n17|pf-1\\n"\nexpect: {id: 17, key: pf-1}',
        "of: find\nexpect: null",
        "of: find\nexit: 1\nstderr: nothing here\nexpect: null",
        "of: find\nexit: 1\nexpect: unknown",
        'of: status\nstdout: "17 active -\\n18 done 3\\n"\nexpect: {17: running, 18: failed, 19: absent}',
        "of: status\nexit: 1\nstdout: 17 waiting -\nexpect: {17: pending, 18: unknown}",
        "of: status[0]\nstdout: 17 active -\nexpect: {17: running}",
        "of: status[1]\nstdout: active\nexpect: {17: running}",
        "of: status[1]\nstderr: no such job\nexit: 1\nexpect: {17: absent}",
        "of: explain\nstdout: 3 OutOfMemory\nexpect: {exit_code: 3, reason: OutOfMemory}",
        "of: explain\nstdout: 3 none\nexpect: {exit_code: 3}",
        "of: explain\nexit: 1\nexpect: null",
    ],
)
def test_an_example_that_holds_is_no_problem(example):
    assert problems(example) == []


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        (
            "of: submit\nstdout: job 17\nexpect: {id: '18'}",
            'sample.yaml:30:5: examples[0].expect: expected {"id": "18"}, the recipe reads {"id": "17"}.',
        ),
        (
            "of: submit\nexit: 1\nexpect: transient",
            "sample.yaml:30:5: examples[0].expect: expected transient, the recipe reads ambiguous.",
        ),
        (
            "of: submit\nstdout: job 17 on cobalt\nexpect: {id: '17'}",
            'sample.yaml:30:5: examples[0].expect: expected {"id": "17"}, '
            'the recipe reads {"id": "17", "cluster": "cobalt"}.',
        ),
        (
            "of: find\nstdout: 17|pf-1\nexpect: null",
            'sample.yaml:30:5: examples[0].expect: expected nothing, the recipe reads {"id": "17"}.',
        ),
        (
            "of: find\nexit: 1\nexpect: null",
            "sample.yaml:30:5: examples[0].expect: expected nothing, the recipe reads unknown.",
        ),
        (
            "of: status\nstdout: 17 active -\nexpect:\n  17: running\n  18: running",
            "sample.yaml:32:7: examples[0].expect.18: expected running, the recipe reads absent.",
        ),
        (
            "of: status\nstdout: 17 active -\nexpect:\n  17: pending",
            "sample.yaml:31:7: examples[0].expect.17: "
            "expected pending, the recipe reads running from the word 'active'.",
        ),
        (
            "of: status\nstdout: the server is down\nexit: 1\nexpect:\n  17: absent",
            "sample.yaml:32:7: examples[0].expect.17: expected absent, the recipe reads unknown: exit code 1.",
        ),
        (
            "of: status\nstdout: 17 active -\nexpect:\n  17: active",
            "sample.yaml:31:7: examples[0].expect.17: active is no state. "
            "Write pending, running, succeeded, failed, finished, cancelled, absent or unknown.",
        ),
        (
            "of: status\nstdout: 17 active -\nexpect: running",
            "sample.yaml:30:5: examples[0].expect: expected job ids with their states, such as {'4711': running}, "
            "found running.",
        ),
        (
            "of: explain\nstdout: 3 OutOfMemory\nexpect: {exit_code: 4, reason: OutOfMemory}",
            'sample.yaml:30:5: examples[0].expect: expected {"exit_code": 4, "reason": "OutOfMemory"}, '
            'the recipe reads {"exit_code": 3, "reason": "OutOfMemory"}.',
        ),
        (
            "of: status[2]\nexpect: {17: running}",
            "sample.yaml:28:5: examples[0].of: 'status[2]' is no command whose output this recipe reads. "
            "Write submit, find, status[0], status[1], explain.",
        ),
        (
            "of: cancel\nexpect: absent",
            "sample.yaml:28:5: examples[0].of: 'cancel' is no command whose output this recipe reads. "
            "Write submit, find, status[0], status[1], explain.",
        ),
    ],
)
def test_an_example_that_does_not_hold_is_told_with_its_line_and_what_is_read(example, expected):
    assert problems(example) == [expected]


def test_every_example_of_a_recipe_is_tried():
    loaded = recipe_with("of: submit\nexit: 1\nexpect: transient")
    text = RECIPE + "  - {of: submit, exit: 1, expect: transient}\n  - {of: submit, stdout: job 1, expect: refused}\n"

    assert len(examples.problems(loaded)) == 1
    assert [problem.key for problem in examples.problems(load(text))] == ["examples[0].expect", "examples[1].expect"]


def test_an_exit_code_of_the_transport_leaves_everything_unknown():
    text = RECIPE.replace("variables: {}", "via: {run: [ssh, host], unreachable: [255]}")
    example = "  - {of: status, exit: 255, expect: {17: unknown}}\n  - {of: submit, exit: 255, expect: transient}\n"

    assert examples.problems(load(text + example)) == []


def test_states_are_read_for_the_jobs_that_the_output_names_when_nobody_says_which():
    recipe = load(RECIPE.replace("examples:\n", "")).recipe
    output = examples.printed(recipe, "17 active -\n18 limbo -\n", "", 0)

    answer = examples.read_status(recipe, recipe.statuses[0], output)

    assert {job: status.state.value for job, status in answer.statuses.items()} == {"17": "running", "18": "unknown"}


def test_the_answer_about_one_job_needs_no_id():
    recipe = load(RECIPE.replace("examples:\n", "")).recipe
    output = examples.printed(recipe, "done\n", "", 0)

    answer = examples.read_status(recipe, recipe.statuses[1], output)

    assert {job: status.state.value for job, status in answer.statuses.items()} == {"the job": "finished"}


def test_a_list_that_names_no_job_is_about_none():
    recipe = load(RECIPE.replace("examples:\n", "")).recipe

    assert examples.read_status(recipe, recipe.statuses[0], examples.printed(recipe, "", "", 0)).statuses == {}


def test_jobs_that_are_listed_by_their_keys_are_named_by_them():
    text = RECIPE.replace("columns: [id, state, exit_code]", "columns: [key, state, exit_code]")

    assert examples.problems(load(text + "  - {of: status, stdout: pf-1 active -, expect: {pf-1: running}}\n")) == []
