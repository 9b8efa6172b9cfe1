"""What `extends` makes of two recipes, and of more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from generic_worker.commands.rendering import job_values, render
from generic_worker.errors import RecipeError
from generic_worker.library.loading import DIRECTORIES_VARIABLE, load, locate

BUNDLED = Path(__file__).parents[3] / "recipes"
CHILD = "recipe: 1\nname: child\nextends: parent\n"


def test_a_child_that_says_nothing_is_its_parent(folder: Path, child) -> None:
    parent = load("parent").data
    del parent["examples"]  # they prove what the child may have changed

    assert child(folder, "") == parent | {"name": "child"}


def test_mappings_merge_in_the_parents_order(folder: Path, child) -> None:
    data = child(folder, "variables: {size: {minimum: 1}, more: {type: array}}\nenv: {MORE: '${more}'}\n")

    assert data["variables"] == {
        "queue": {"type": "string", "default": "all"},
        "size": {"type": "integer", "minimum": 1},
        "more": {"type": "array"},
    }
    assert list(data["env"]) == ["QUEUE", "HOME_OF", "MORE"]


def test_lists_and_scalars_replace(folder: Path, child) -> None:
    data = child(folder, "states: {finished: [ended]}\nsubmit: {run: [other]}\nvariables: {queue: {default: one}}\n")

    assert data["states"] == {"finished": ["ended"], "running": ["active"]}
    assert data["submit"]["run"] == ["other"]
    assert data["variables"]["queue"] == {"type": "string", "default": "one"}


def test_a_list_and_a_mapping_replace_each_other(folder: Path, child) -> None:
    data = child(folder, "status: {run: [x], output: {columns: [id, state]}}\ncancel: [{run: [a]}, {run: [b]}]\n")

    assert data["status"] == {"run": ["x"], "output": {"columns": ["id", "state"]}}
    assert data["cancel"] == [{"run": ["a"]}, {"run": ["b"]}]


def test_null_removes(folder: Path, child) -> None:
    data = child(
        folder, "env: null\nsubmit: {stdin: null, output: {separator: null}}\nstates: {running: ~}\nlogs: null\n"
    )

    assert "env" not in data
    assert "logs" not in data
    assert data["states"] == {"finished": ["done"]}
    assert "stdin" not in data["submit"]
    assert data["submit"]["output"] == {"columns": ["id"]}


def test_a_removed_variable_takes_along_what_would_be_null_without_it(folder: Path, child) -> None:
    data = child(folder, "variables: {size: null}\n")

    assert data["variables"] == {"queue": {"type": "string", "default": "all"}}
    assert data["required"] == ["queue"]
    assert data["env"] == {"QUEUE": "${queue}"}
    assert data["submit"]["run"] == ["launch", "--queue=${queue}", "last"]
    assert data["submit"]["stdin"] == {"queue": "${queue}", "list": ["${queue}"], "deep": {"queue": "q ${queue}"}}


def test_a_removed_variable_leaves_text_and_the_childs_own_words(folder: Path, write, parent) -> None:
    write(folder, "parent", parent + "files: {text: 'a ${size}', data: {a: '${size}'}}\n")
    write(folder, "child", CHILD + "variables: {size: null}\nenv: {NEW: '${size}'}\n")

    with pytest.raises(RecipeError) as caught:
        load("child")
    assert [line.partition(" names nothing")[0] for line in str(caught.value).splitlines()] == [
        f"{folder}/child.yaml:5:7: env.NEW: ${{size}}",
        f"{folder}/parent.yaml:24:9: files.text: ${{size}}",
    ]


def test_append_adds_to_a_list(folder: Path, child) -> None:
    data = child(folder, "submit: {run: {append: [one, [two, '${size}']]}}\nstates: {finished: {append: [over]}}\n")

    assert data["submit"]["run"] == [
        "launch", "--queue=${queue}", "--size=${size}", ["--both", "${queue}-${size}"], "last",
        "one", ["two", "${size}"],
    ]  # fmt: skip
    assert data["states"]["finished"] == ["done", "over"]


def test_append_to_nothing_is_a_list(folder: Path, child) -> None:
    data = child(folder, "requires: {append: [launch]}\n")

    assert data["requires"] == ["launch"]


def test_lists_of_what_has_names_merge_by_name(folder: Path, write, parent) -> None:
    pods = "[{name: flow, image: x, env: [{name: A, value: '1'}], args: [a]}, {name: other, image: y}]"
    write(folder, "parent", f"{parent}files: {{pod: {{containers: {pods}, list: [{{name: a}}, {{key: b}}]}}}}\n")
    added = "[{name: flow, gpu: 1, image: null, env: [{name: B, value: '2'}], args: [b]}, {name: sidecar, image: z}]"
    write(folder, "child", f"{CHILD}files: {{pod: {{containers: {added}, list: [{{name: a}}]}}}}\n")

    assert load("child").data["files"]["pod"] == {
        "containers": [
            {
                "name": "flow",
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "args": ["b"],
                "gpu": 1,
            },
            {"name": "other", "image": "y"},
            {"name": "sidecar", "image": "z"},
        ],
        "list": [{"name": "a"}],
    }


@pytest.mark.parametrize("odd", ["[{name: a}, {name: a}]", "[{name: 1}]", "[a]", "[]"])
def test_lists_in_which_something_has_no_name_of_its_own_replace(folder: Path, write, parent, odd) -> None:
    write(folder, "parent", f"{parent}files: {{pod: {{list: [{{name: a, more: 1}}]}}}}\n")
    write(folder, "child", f"{CHILD}files: {{pod: {{list: {odd}}}}}\n")

    assert "more" not in str(load("child").data["files"]["pod"])


def test_an_output_of_another_kind_replaces(folder: Path, child) -> None:
    data = child(folder, "submit: {output: {regex: '(?P<id>.)', from: stderr}}\n")

    assert data["submit"]["output"] == {"regex": "(?P<id>.)", "from": "stderr"}


def test_a_chain_merges_from_the_far_end(folder: Path, write, parent) -> None:
    write(
        folder,
        "middle",
        "recipe: 1\nname: middle\nextends: parent\nsubmit: {run: {append: [middle]}}\npolicy: {poll: 5}\n",
    )
    write(
        folder,
        "child",
        "recipe: 1\nname: child\nextends: middle\nsubmit: {run: {append: [child]}}\nvariables: {size: null}\n",
    )
    data = load("child").data

    assert data["submit"]["run"] == ["launch", "--queue=${queue}", "last", "middle", "child"]
    assert data["policy"] == {"poll": 5}


def test_a_parent_is_not_changed_by_its_children(folder: Path, child) -> None:
    before = load("parent").data
    child(folder, "submit: {run: {append: [x]}, stdin: {deep: {more: 1}}}\nvariables: {size: null}\n")

    assert load("parent").data == before


def test_a_parent_is_looked_for_beside_its_child_first(folder: Path, write, parent) -> None:
    site = folder / "site"
    write(site, "parent", parent.replace("launch", "site-launch"))
    path = write(site, "child", CHILD)

    assert load(str(path)).recipe.submit.run[0] == "site-launch"


def test_a_parent_may_be_a_path_from_the_childs_directory(folder: Path, monkeypatch: pytest.MonkeyPatch, write) -> None:
    write(folder / "site", "child", CHILD.replace("extends: parent", "extends: ../parent.yaml"))
    monkeypatch.chdir("/")

    assert load(str(folder / "site" / "child.yaml")).recipe.submit.run[0] == "launch"


def test_a_sites_overlay_may_have_the_name_of_the_bundled_recipe(folder: Path, write) -> None:
    write(
        folder,
        "slurm",
        "recipe: 1\nname: slurm\nextends: slurm\nvariables: {qos: null}\nsubmit: {run: {append: [--account=x]}}\n",
    )
    loaded = load("slurm")
    values = job_values(
        loaded.recipe,
        {"partition": "p"},
        {"job_key": "pf-1", "job_name": "n", "command": "x", "env": {}, "labels": {}},
    )

    assert locate("slurm") == folder / "slurm.yaml"
    assert render(loaded.recipe, loaded.recipe.submit, values).argv[-2:] == ("--partition=p", "--account=x")


def test_overlays_of_one_name_in_several_directories_extend_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write
) -> None:
    for name in ("one", "two", "three"):
        write(
            tmp_path / name, "slurm", f"recipe: 1\nname: slurm\nextends: slurm\nsubmit: {{run: {{append: [{name}]}}}}\n"
        )
    monkeypatch.setenv(DIRECTORIES_VARIABLE, os.pathsep.join(str(tmp_path / name) for name in ("one", "two", "three")))

    assert load("slurm").recipe.submit.run[-4:] == ["${sbatch_options}", "three", "two", "one"]
