from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from generic_worker.commands.rendering import job_values, render
from generic_worker.errors import RecipeError
from generic_worker.library.loading import DIRECTORIES_VARIABLE, found_recipes, is_name, load, locate

BUNDLED = Path(__file__).parents[3] / "recipes"
PARENT = """\
recipe: 1
name: parent
variables:
  queue: {type: string, default: all}
  size: {type: integer}
required: [queue, size]
env: {QUEUE: '${queue}', HOME_OF: '${size}x'}
submit:
  run:
    - launch
    - --queue=${queue}
    - --size=${size}
    - [--both, '${queue}-${size}']
    - last
  stdin: {queue: '${queue}', list: ['${queue}', '${size}'], deep: {queue: 'q ${queue}', size: '${size}'}}
  output: {columns: [id], separator: '|'}
status:
  - run: [launch, list]
    output: {columns: [id, state]}
states: {finished: [done], running: [active]}
cancel: {run: [launch, stop, '${job_id}']}
examples:
  - {of: submit, stdout: '17', expect: {id: 17}}
"""
CHILD = "recipe: 1\nname: child\nextends: parent\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory and a recipe directory, with a recipe to extend."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DIRECTORIES_VARIABLE, str(tmp_path))
    write(tmp_path, "parent", PARENT)
    return tmp_path


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def child(folder: Path, text: str) -> dict[str, Any]:
    """The data of a recipe that extends the parent."""
    write(folder, "child", CHILD + text)
    return load("child").data


def problems(reference: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(reference)
    return str(caught.value).splitlines()


# Where recipes come from


def test_a_bundled_recipe_is_found_by_its_name() -> None:
    assert load("slurm").recipe.name == "slurm"
    assert locate("slurm") == BUNDLED / "slurm.yaml"


def test_a_recipe_directory_comes_before_the_bundled_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, "slurm", PARENT)
    write(two, "slurm", PARENT)
    (two / "mine.yml").write_text(PARENT, encoding="utf-8")
    write(two, "not a name", PARENT)
    monkeypatch.setenv(DIRECTORIES_VARIABLE, os.pathsep.join(["", str(one), str(tmp_path / "none"), str(two)]))

    assert locate("slurm") == one / "slurm.yaml"
    assert locate("mine") == two / "mine.yml"
    assert found_recipes() == {
        **{path.stem: path for path in BUNDLED.glob("*.yaml")},
        "mine": two / "mine.yml",
        "slurm": one / "slurm.yaml",
    }


def test_a_recipe_is_found_by_its_path(folder: Path) -> None:
    assert load("parent.yaml").recipe is load("./parent.yaml").recipe is load(str(folder / "parent.yaml")).recipe


def test_a_recipe_is_text_or_a_mapping() -> None:
    loaded = load(PARENT)

    assert load(loaded.data).recipe is loaded.recipe
    assert load(json.loads(json.dumps(loaded.data))).recipe is loaded.recipe
    assert loaded.source.name == "<recipe>"


def test_a_mapping_with_a_parent_follows_its_parent(folder: Path) -> None:
    reference = {"recipe": 1, "name": "child", "extends": "parent"}

    assert load(reference).recipe.states["finished"] == ["done"]

    write(folder, "parent", PARENT.replace("done", "ended"))

    assert load(reference).recipe.states["finished"] == ["ended"]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../slurm", "/etc/passwd", "a/b", "slurm.yaml", "-x", "a b", "a\n", "ä", None, {}, ["slurm"]],
)
def test_what_is_no_name(name: object) -> None:
    assert not is_name(name)


def test_a_name_does_not_lead_out_of_its_directory(folder: Path) -> None:
    write(folder.parent, "outside", PARENT)

    assert problems("..") == [f"..: No recipe has the name '..'. Known: {', '.join(sorted(found_recipes()))}."]


def test_a_name_that_nobody_has_is_told_with_the_one_that_was_meant() -> None:
    assert problems("slurn") == ["slurn: No recipe has the name 'slurn'. Did you mean 'slurm'?"]


def test_a_file_that_is_not_there_or_not_text_is_told(folder: Path) -> None:
    (folder / "latin.yaml").write_bytes(b"recipe: 1 # \xe9\n")
    (folder / "a.yaml").mkdir()

    assert problems("none.yaml") == ["none.yaml: There is no such file."]
    assert problems("a.yaml") == ["a.yaml: There is no such file."]
    assert problems("latin.yaml") == ["latin.yaml: It is not UTF-8 text: invalid continuation byte."]


# What `extends` makes of two recipes


def test_a_child_that_says_nothing_is_its_parent(folder: Path) -> None:
    parent = load("parent").data
    del parent["examples"]  # they prove what the child may have changed

    assert child(folder, "") == parent | {"name": "child"}


def test_mappings_merge_in_the_parents_order(folder: Path) -> None:
    data = child(folder, "variables: {size: {minimum: 1}, more: {type: array}}\nenv: {MORE: '${more}'}\n")

    assert data["variables"] == {
        "queue": {"type": "string", "default": "all"},
        "size": {"type": "integer", "minimum": 1},
        "more": {"type": "array"},
    }
    assert list(data["env"]) == ["QUEUE", "HOME_OF", "MORE"]


def test_lists_and_scalars_replace(folder: Path) -> None:
    data = child(folder, "states: {finished: [ended]}\nsubmit: {run: [other]}\nvariables: {queue: {default: one}}\n")

    assert data["states"] == {"finished": ["ended"], "running": ["active"]}
    assert data["submit"]["run"] == ["other"]
    assert data["variables"]["queue"] == {"type": "string", "default": "one"}


def test_a_list_and_a_mapping_replace_each_other(folder: Path) -> None:
    data = child(folder, "status: {run: [x], output: {columns: [id, state]}}\ncancel: [{run: [a]}, {run: [b]}]\n")

    assert data["status"] == {"run": ["x"], "output": {"columns": ["id", "state"]}}
    assert data["cancel"] == [{"run": ["a"]}, {"run": ["b"]}]


def test_null_removes(folder: Path) -> None:
    data = child(
        folder, "env: null\nsubmit: {stdin: null, output: {separator: null}}\nstates: {running: ~}\nlogs: null\n"
    )

    assert "env" not in data
    assert "logs" not in data
    assert data["states"] == {"finished": ["done"]}
    assert "stdin" not in data["submit"]
    assert data["submit"]["output"] == {"columns": ["id"]}


def test_a_removed_variable_takes_along_what_would_be_null_without_it(folder: Path) -> None:
    data = child(folder, "variables: {size: null}\n")

    assert data["variables"] == {"queue": {"type": "string", "default": "all"}}
    assert data["required"] == ["queue"]
    assert data["env"] == {"QUEUE": "${queue}"}
    assert data["submit"]["run"] == ["launch", "--queue=${queue}", "last"]
    assert data["submit"]["stdin"] == {"queue": "${queue}", "list": ["${queue}"], "deep": {"queue": "q ${queue}"}}


def test_a_removed_variable_leaves_text_and_the_childs_own_words(folder: Path) -> None:
    write(folder, "parent", PARENT + "files: {text: 'a ${size}', data: {a: '${size}'}}\n")
    write(folder, "child", CHILD + "variables: {size: null}\nenv: {NEW: '${size}'}\n")

    assert [line.partition(" names nothing")[0] for line in problems("child")] == [
        f"{folder}/child.yaml:5:7: env.NEW: ${{size}}",
        f"{folder}/parent.yaml:24:9: files.text: ${{size}}",
    ]


def test_append_adds_to_a_list(folder: Path) -> None:
    data = child(folder, "submit: {run: {append: [one, [two, '${size}']]}}\nstates: {finished: {append: [over]}}\n")

    assert data["submit"]["run"] == [
        "launch", "--queue=${queue}", "--size=${size}", ["--both", "${queue}-${size}"], "last",
        "one", ["two", "${size}"],
    ]  # fmt: skip
    assert data["states"]["finished"] == ["done", "over"]


def test_append_to_nothing_is_a_list(folder: Path) -> None:
    data = child(folder, "requires: {append: [launch]}\n")

    assert data["requires"] == ["launch"]


def test_an_output_of_another_kind_replaces(folder: Path) -> None:
    data = child(folder, "submit: {output: {regex: '(?P<id>.)', from: stderr}}\n")

    assert data["submit"]["output"] == {"regex": "(?P<id>.)", "from": "stderr"}


def test_a_chain_merges_from_the_far_end(folder: Path) -> None:
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


def test_a_parent_is_not_changed_by_its_children(folder: Path) -> None:
    before = load("parent").data
    child(folder, "submit: {run: {append: [x]}, stdin: {deep: {more: 1}}}\nvariables: {size: null}\n")

    assert load("parent").data == before


def test_a_parent_is_looked_for_beside_its_child_first(folder: Path) -> None:
    site = folder / "site"
    write(site, "parent", PARENT.replace("launch", "site-launch"))
    path = write(site, "child", CHILD)

    assert load(str(path)).recipe.submit.run[0] == "site-launch"


def test_a_parent_may_be_a_path_from_the_childs_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "site", "child", CHILD.replace("extends: parent", "extends: ../parent.yaml"))
    monkeypatch.chdir("/")

    assert load(str(folder / "site" / "child.yaml")).recipe.submit.run[0] == "launch"


def test_a_sites_overlay_may_have_the_name_of_the_bundled_recipe(folder: Path) -> None:
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        write(
            tmp_path / name, "slurm", f"recipe: 1\nname: slurm\nextends: slurm\nsubmit: {{run: {{append: [{name}]}}}}\n"
        )
    monkeypatch.setenv(DIRECTORIES_VARIABLE, os.pathsep.join(str(tmp_path / name) for name in ("one", "two", "three")))

    assert load("slurm").recipe.submit.run[-4:] == ["${sbatch_options}", "three", "two", "one"]


# What is wrong with them


def test_a_cycle_is_told_where_it_closes(folder: Path) -> None:
    for name, parent in (("a", "b"), ("b", "c.yaml"), ("c", "a")):
        write(folder, name, f"recipe: 1\nname: {name}\n\nextends: {parent}\n")

    assert problems("a") == [
        f"{folder}/c.yaml:4:1: extends: This goes round in a circle: "
        "a.yaml extends b.yaml extends c.yaml extends a.yaml."
    ]


def test_a_path_to_itself_is_a_cycle_and_a_name_of_its_own_is_not(folder: Path) -> None:
    write(folder, "x", "recipe: 1\nname: x\nextends: ./x.yaml\n")
    write(folder, "y", "recipe: 1\nname: y\nextends: y\n")

    assert problems("x") == [f"{folder}/x.yaml:3:1: extends: This goes round in a circle: x.yaml extends x.yaml."]
    assert problems("y") == [f"{folder}/y.yaml:3:1: extends: There is no other recipe with the name 'y'."]


def test_a_link_to_itself_is_a_cycle(folder: Path) -> None:
    write(folder, "x", "recipe: 1\nname: x\nextends: z.yaml\n")
    (folder / "z.yaml").symlink_to("x.yaml")

    assert problems("x") == [f"{folder}/x.yaml:3:1: extends: This goes round in a circle: x.yaml extends z.yaml."]


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("parnt", "No recipe has the name 'parnt'. Did you mean 'parent'?"),
        ("no/such.yaml", "There is no file 'no/such.yaml'."),
        ("[parent]", "Expected text, found a list of 1."),
        ("7", "Expected text, found 7. If it is text, quote it: '7'."),
    ],
)
def test_a_parent_that_is_not_there_is_told_with_what_else_is_wrong(folder: Path, extends: str, message: str) -> None:
    write(folder, "x", f"recipe: 1\nname: x\nextends: {extends}\npolicy: {{pol: 5}}\n")

    assert problems("x.yaml") == [
        f"x.yaml:3:1: extends: {message}",
        "x.yaml:4:10: policy.pol: Unknown key. Did you mean 'poll'?",
    ]


def test_what_is_no_yaml_in_a_parent_is_told_there(folder: Path) -> None:
    write(folder, "parent", "recipe: 1\n\tname: x\n")
    write(folder, "child", CHILD)

    assert problems("child") == [f"{folder}/parent.yaml:2:1: A tab cannot indent. Use spaces."]


def test_a_problem_is_told_in_the_file_that_has_it(folder: Path) -> None:
    text = PARENT.replace("    - last\n", "    - last-${lst}\n").replace("[launch, list]", "[launch, '${lst}']")
    write(folder, "parent", text)
    write(
        folder,
        "child",
        CHILD
        + "variables: {size: null}\n"
        + "submit:\n  run:\n    append:\n      - own\n      - own-${lst}\n"
        + "states:\n  running: [done]\n"
        + "logs: {rnu: x}\n",
    )

    assert [line.partition("${lst} names")[0] for line in problems("child")] == [
        f"{folder}/child.yaml:9:9: submit.run.append[1]: ",
        f"{folder}/child.yaml:11:13: states.running[0]: 'done' is already listed under finished. Keep one.",
        f"{folder}/child.yaml:12:1: logs.run: This key is missing.",
        f"{folder}/child.yaml:12:8: logs.rnu: Unknown key. Did you mean 'run'?",
        f"{folder}/parent.yaml:14:7: submit.run[4]: ",
        f"{folder}/parent.yaml:18:19: status[0].run[1]: ",
    ]


def test_a_mapping_has_problems_without_lines(folder: Path) -> None:
    assert problems({"recipe": 1, "name": "x", "extends": "parent", "polcy": {}}) == [
        "recipe: polcy: Unknown key. Did you mean 'policy'?"
    ]


def test_what_a_pool_keeps_needs_no_parent_any_more(folder: Path) -> None:
    data = child(folder, "submit: {run: {append: [x]}}\n")
    (folder / "parent.yaml").unlink()

    assert "extends" not in data
    assert load(data).recipe.submit.run[-1] == "x"
