"""Where a recipe's expressions and scripts are."""

from generic_worker.language.recipe_texts import scripts, templates
from generic_worker.library.loading import load

RECIPE = {
    "recipe": 1,
    "name": "sample",
    "scope": "${worker_host}",
    "env": {"SITE": "site ${worker_host}"},
    "files": {"manifest": {"name": ["${job_name}", 1]}},
    "via": {"run": ["ssh", "login ${worker_host}"]},
    "script": {"before": "module load x"},
    "check": {"run": "launch --version"},
    "submit": {
        "run": ["launch", ["-n", "${job_name}"]],
        "stdin": "${job_script}",
        "env": {"KEY": "${job_key}"},
        "output": {"columns": ["id"]},
    },
    "status": [
        {"run": "list $job_ids", "output": {"columns": ["id", "state"]}},
        {"run": ["history", "${job_id}"], "output": {"columns": ["id", "state"]}},
    ],
    "cancel": {"run": ["stop", "${job_id}"]},
    "states": {"finished": ["done"]},
}


def test_every_text_that_may_hold_expressions_is_found_with_its_place():
    found = dict(templates(load(RECIPE).recipe))

    assert {".".join(map(str, path)): text for path, text in found.items() if "$" in text} == {
        "scope": "${worker_host}",
        "env.SITE": "site ${worker_host}",
        "files.manifest.name.0": "${job_name}",
        "via.run.1": "login ${worker_host}",
        "submit.run.1.1": "${job_name}",
        "submit.env.KEY": "${job_key}",
        "submit.stdin": "${job_script}",
        "status.1.run.1": "${job_id}",
        "cancel.run.1": "${job_id}",
    }


def test_a_script_holds_no_expressions_and_is_found_as_one():
    recipe = load(RECIPE).recipe

    assert list(scripts(recipe)) == [
        (("script", "before"), "module load x"),
        (("check", "run"), "launch --version"),
        (("status", 0, "run"), "list $job_ids"),
    ]
    assert not {path for path, _ in scripts(recipe)} & {path for path, _ in templates(recipe)}
