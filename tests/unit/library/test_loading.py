from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from generic_worker.errors import RecipeError
from generic_worker.library.loading import DIRECTORIES_VARIABLE, found_recipes, is_name, load, locate

BUNDLED = Path(__file__).parents[3] / "recipes"
CHILD = "recipe: 1\nname: child\nextends: parent\n"


def problems(reference: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(reference)
    return str(caught.value).splitlines()


# Where recipes come from


def test_a_bundled_recipe_is_found_by_its_name() -> None:
    assert load("slurm").recipe.name == "slurm"
    assert locate("slurm") == BUNDLED / "slurm.yaml"


def test_a_recipe_directory_comes_before_the_bundled_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write, parent
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, "slurm", parent)
    write(two, "slurm", parent)
    (two / "mine.yml").write_text(parent, encoding="utf-8")
    write(two, "not a name", parent)
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


def test_a_recipe_is_text_or_a_mapping(parent) -> None:
    loaded = load(parent)

    assert load(loaded.data).recipe is loaded.recipe
    assert load(json.loads(json.dumps(loaded.data))).recipe is loaded.recipe
    assert loaded.source.name == "<recipe>"


def test_a_mapping_with_a_parent_follows_its_parent(folder: Path, write, parent) -> None:
    reference = {"recipe": 1, "name": "child", "extends": "parent"}

    assert load(reference).recipe.states["finished"] == ["done"]

    write(folder, "parent", parent.replace("done", "ended"))

    assert load(reference).recipe.states["finished"] == ["ended"]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../slurm", "/etc/passwd", "a/b", "slurm.yaml", "-x", "a b", "a\n", "ä", None, {}, ["slurm"]],
)
def test_what_is_no_name(name: object) -> None:
    assert not is_name(name)


def test_a_name_does_not_lead_out_of_its_directory(folder: Path, write, parent) -> None:
    write(folder.parent, "outside", parent)

    assert problems("..") == [f"..: No recipe has the name '..'. Known: {', '.join(sorted(found_recipes()))}."]


def test_a_name_that_nobody_has_is_told_with_the_one_that_was_meant() -> None:
    assert problems("slurn") == ["slurn: No recipe has the name 'slurn'. Did you mean 'slurm'?"]


def test_a_file_that_is_not_there_or_not_text_is_told(folder: Path) -> None:
    (folder / "latin.yaml").write_bytes(b"recipe: 1 # \xe9\n")
    (folder / "a.yaml").mkdir()

    assert problems("none.yaml") == ["none.yaml: There is no such file."]
    assert problems("a.yaml") == ["a.yaml: It is a directory. Write the path of a recipe's file."]
    assert problems("latin.yaml") == ["latin.yaml: It is not UTF-8 text: invalid continuation byte."]


# What is wrong with them


def test_a_cycle_is_told_where_it_closes(folder: Path, write) -> None:
    for name, parent in (("a", "b"), ("b", "c.yaml"), ("c", "a")):
        write(folder, name, f"recipe: 1\nname: {name}\n\nextends: {parent}\n")

    assert problems("a") == [
        f"{folder}/c.yaml:4:1: extends: This goes round in a circle: "
        "a.yaml extends b.yaml extends c.yaml extends a.yaml."
    ]


def test_a_path_to_itself_is_a_cycle_and_a_name_of_its_own_is_not(folder: Path, write) -> None:
    write(folder, "x", "recipe: 1\nname: x\nextends: ./x.yaml\n")
    write(folder, "y", "recipe: 1\nname: y\nextends: y\n")

    assert problems("x") == [f"{folder}/x.yaml:3:1: extends: This goes round in a circle: x.yaml extends x.yaml."]
    assert problems("y") == [f"{folder}/y.yaml:3:1: extends: There is no other recipe with the name 'y'."]


def test_a_link_to_itself_is_a_cycle(folder: Path, write) -> None:
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
def test_a_parent_that_is_not_there_is_told_with_what_else_is_wrong(
    folder: Path, extends: str, message: str, write
) -> None:
    write(folder, "x", f"recipe: 1\nname: x\nextends: {extends}\npolicy: {{pol: 5}}\n")

    assert problems("x.yaml") == [
        f"x.yaml:3:1: extends: {message}",
        "x.yaml:4:10: policy.pol: Unknown key. Did you mean 'poll'?",
    ]


def test_what_is_no_yaml_in_a_parent_is_told_there(folder: Path, write) -> None:
    write(folder, "parent", "recipe: 1\n\tname: x\n")
    write(folder, "child", CHILD)

    assert problems("child") == [f"{folder}/parent.yaml:2:1: A tab cannot indent. Use spaces."]


def test_a_problem_is_told_in_the_file_that_has_it(folder: Path, write, parent) -> None:
    text = parent.replace("    - last\n", "    - last-${lst}\n").replace("[launch, list]", "[launch, '${lst}']")
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


def test_what_a_pool_keeps_needs_no_parent_any_more(folder: Path, child) -> None:
    data = child(folder, "submit: {run: {append: [x]}}\n")
    (folder / "parent.yaml").unlink()

    assert "extends" not in data
    assert load(data).recipe.submit.run[-1] == "x"
