from __future__ import annotations

from typing import Any

import pytest

from generic_worker.library.validation import did_you_mean, mended, schema_problems, shape_problems
from generic_worker.syntax.source import from_mapping
from generic_worker.syntax.yaml_text import read_text

WHOLE: dict[str, Any] = {
    "recipe": 1,
    "name": "sample",
    "submit": {"run": ["launch"], "output": {"columns": ["id"]}},
    "status": {"run": ["list"], "output": {"columns": ["id", "state"]}},
    "cancel": {"run": ["stop"]},
    "states": {"finished": ["done"]},
}


def problems(**changed: Any) -> list[str]:
    return [str(problem) for problem in shape_problems(from_mapping(WHOLE | changed, "x.yaml"))]


def test_a_whole_recipe_has_no_problems() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"polcy": {}}, "polcy: Unknown key. Did you mean 'policy'?"),
        ({"zzz": {}}, "zzz: Unknown key. Known here: cancel, check, cleanup, description, documentation, env, "
         "examples, explain, extends, files, find, logs, name, policy, recipe, required, requires, scope, script, "
         "states, status, submit, variables, verified, via, watch."),
        ({"policy": {"x1": 5}}, "policy.x1: Unknown key. Known here: absent, batch, commands, find_for, grace, "
         "lost_after, lost_polls, pending_for, poll, resubmit, retry_for, visible_after."),
        ({"script": {"befor": "x"}}, "script.befor: Unknown key. Did you mean 'before'?"),
        ({"status": [WHOLE["status"], WHOLE["status"] | {"optinal": True}]}, "status[1].optinal: Unknown key. Did you "
         "mean 'optional'?"),
        ({"recipe": "1"}, "recipe: Expected language version 1, found '1'."),
        ({"name": "x" * 41}, "name: Expected at most 40 characters, found '" + "x" * 41 + "'."),
        ({"name": "Über"}, "name: Expected lower case letters, digits and dashes, a letter first, found 'Über'."),
        ({"requires": None}, "requires: Expected a list, found nothing."),
        ({"requires": "a b"}, "requires: Expected a list, found 'a b'."),
        ({"requires": {"append": ["x"]}}, "requires: Expected a list, found a mapping. There is nothing to append to."),
        ({"description": True}, "description: Expected text, found true. If it is text, quote it: 'true'."),
        ({"description": 3.5}, "description: Expected text, found 3.5. If it is text, quote it: '3.5'."),
        ({"description": ["a", "b"]}, "description: Expected text, found a list of 2."),
        ({"description": []}, "description: Expected text, found an empty list."),
        ({"cancel": {"run": []}}, "cancel.run: Expected at least 1 item, found an empty list."),
        ({"cancel": {"run": ""}}, "cancel.run: Expected at least 1 character, found ''."),
        ({"cancel": {"run": ["a", {"b": "c"}]}}, "cancel.run[1]: Expected text, found a mapping. Text that holds ': ', "
         "or begins with a brace, must be quoted."),
        ({"cancel": {"run": ["a", ["b", None]]}}, "cancel.run[1][1]: Expected text, found nothing."),
        ({"cancel": []}, "cancel: Expected at least 1 item, found an empty list."),
        ({"cancel": {"run": ["a"], "timeout": "1:30"}}, "cancel.timeout: Expected a number of seconds, found '1:30'. "
         "Write the number alone, without quotes and unit."),
        ({"cancel": {"run": ["a"], "timeout": True}}, "cancel.timeout: Expected a number of seconds, found true."),
        ({"cancel": {"run": ["a"], "timeout": 0}}, "cancel.timeout: Expected a number greater than 0, found 0."),
        ({"cancel": {"run": ["a"], "timeout": 1e9}}, "cancel.timeout: Expected a number less than or equal to 86400, "
         "found 1000000000.0."),
        ({"policy": {"batch": 1.5}}, "policy.batch: Expected a whole number, found 1.5."),
        ({"policy": {"batch": "5"}}, "policy.batch: Expected a whole number, found '5'."),
        ({"script": {"interpreter": "bash"}}, "script.interpreter: Expected a path that begins with a slash, such as "
         "/bin/sh, found 'bash'."),
        ({"states": {}}, "states: Expected at least 1 item, found a mapping."),
        ({"states": {"finshed": ["x"]}}, "states.finshed: Expected 'pending', 'running', 'succeeded', 'failed', "
         "'cancelled', 'finished' or 'elsewhere', found 'finshed'. Did you mean 'finished'?"),
        ({"find": {"run": ["x"], "output": {"columns": ["id"], "from": "stdot"}}}, "find.output.from: Expected "
         "'stdout' or 'stderr', found 'stdot'. Did you mean 'stdout'?"),
        ({"find": {"run": ["x"], "output": {"json": "$", "fields": {"id": "x"}, "json_path": "$"}}},
         "find.output.json_path: Unknown key. Did you mean 'json'?"),
        ({"find": {"run": ["x"], "output": {"json": "$"}}}, "find.output: Write json and fields together."),
        ({"find": {"run": ["x"], "output": {"regex": "(?P<id>x)", "separator": "|"}}}, "find.output: Write "
         "separator with columns only."),
        ({"variables": {"job_x": {}}}, "variables.job_x: This name has a meaning of its own: choose another."),
        ({"variables": {"none": {}}}, "variables.none: This name has a meaning of its own: choose another."),
        ({"files": {"A": "x"}}, "files.A: A name is lower case letters, digits and underscores, a letter first."),
        ({"via": {"run": ["ssh"], "unreachable": [True]}}, "via.unreachable[0]: Expected a whole number, found true."),
        ({"description": 100 * [1]}, "description: Expected text, found a list of 100."),
    ],
)  # fmt: skip
def test_what_is_misshapen_is_told_in_words(changed: dict[str, Any], message: str) -> None:
    assert problems(**changed) == [f"x.yaml: {message}"]


def test_a_long_value_is_shortened() -> None:
    assert problems(requires=100 * "y ") == [f"x.yaml: requires: Expected a list, found '{38 * 'y '}...."]


def test_a_file_may_be_called_as_a_name_is() -> None:
    assert problems(files={"env": "x", "command": "x", "job_id": "x"}) == []


def test_of_a_part_of_a_recipe_nothing_is_missing() -> None:
    source = from_mapping({"recipe": 1, "submit": {"rnu": ["x"]}}, "x.yaml")

    assert [str(problem) for problem in shape_problems(source, partial=True)] == [
        "x.yaml: submit.rnu: Unknown key. Did you mean 'run'?"
    ]


def test_a_misshapen_recipe_is_mended_so_that_the_rest_can_be_checked() -> None:
    text = """\
recipe: 1
name: No Name
submit: {run: [launch, {a: b}, last], output: {regex: '('}, tiemout: 5}
status: {run: [list], output: {columns: [id, state]}}
policy: {poll: often, batch: 7}
states: {finished: [done], ended: [x]}
"""
    recipe, problems, replaced = mended(read_text(text, "x.yaml"))

    assert recipe is not None
    assert recipe.name == "unnamed"
    assert recipe.submit.run == ["launch", "-", "last"]
    assert recipe.submit.output.field_names == {"id"}
    assert recipe.cancels[0].run == ["-"]
    assert (recipe.policy.poll, recipe.policy.batch) == (15, 7)
    assert recipe.states == {"finished": ["done"]}
    assert sorted(replaced, key=str) == sorted(
        [
            ("name",),
            ("submit", "run", 1),
            ("submit", "output", "regex"),
            ("submit", "tiemout"),
            ("policy", "poll"),
            ("states", "ended"),
            ("cancel",),
        ],
        key=str,
    )
    assert len(problems) == 7


def test_what_cannot_be_mended_is_told_all_the_same() -> None:
    recipe, problems, _ = mended(from_mapping(WHOLE | {"submit": {"run": ["x"], "output": {"columns": ["A"]}}}, "x"))

    assert recipe is None
    assert [str(problem) for problem in problems] == [
        "x: submit.output.columns[0]: Expected lower case letters, digits and underscores, a letter first, found 'A'."
    ]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, []),
        ({"type": ["string", "null"], "pattern": r"^\w+$", "default": "a"}, []),
        ({"type": "string", "default": None}, []),
        ({"enum": ["a"], "default": "b"}, [("default", "The default does not suit the schema: 'b' is not one of "
                                            "['a'].")]),
        ({"pattern": "^(?:a|aa)+$", "default": 80 * "a" + "!"},
         [("default", "The default does not suit the schema: the pattern '^(?:a|aa)+$' takes too long for it.")]),
        ({"items": {"unevaluatedProperties": False}},
         [("", "unevaluatedProperties is not known here. Write additionalProperties.")]),
        ({"pattern": "("}, [("pattern", "Not a regular expression: '('.")]),
        ({"type": "str"}, [("type", "Not JSON Schema: 'str' is not valid under any of the given schemas. Did you mean "
                            "'string'?")]),
        ({"properties": {"a": {"minimum": "x"}}}, [("properties.a.minimum", "Not JSON Schema: 'x' is not of type "
                                                    "'number'.")]),
        ({"items": {"$ref": "#/nowhere"}, "default": []}, []),
        ({"block": "aws-credentials", "title": "x", "description": "y", "default": None}, []),
        ({"block": "aws-credentials", "type": "object"}, [("", "A block variable has the keys block (a block type's "
                                                           "slug), title, description and default.")]),
        ({"block": 5}, [("", "A block variable has the keys block (a block type's slug), title, description and "
                         "default.")]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_variables_schema(schema: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    recipe, _, _ = mended(from_mapping(WHOLE | {"variables": {"x": schema}}, "x"))

    assert recipe is not None
    assert list(schema_problems(recipe)) == [
        (("variables", "x", *(path.split(".") if path else ())), message) for path, message in expected
    ]


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("quue", ["queue", "time"], " Did you mean 'queue'?"),
        ("zzz", ["time", "queue"], " Known here: queue, time."),
        ("zzz", [], ""),
    ],
)
def test_a_known_word_is_suggested(word: str, known: list[str], expected: str) -> None:
    assert did_you_mean(word, known) == expected
