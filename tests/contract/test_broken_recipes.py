"""Every broken recipe is refused with the words that stand beside it. It is found by its place; nothing registers it.

`tests/broken/<name>.yaml` is a recipe that is wrong in one way (`several` in many), and `<name>.txt` is the whole
error. Paths in it are relative to that directory.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from generic_worker.errors import RecipeError
from generic_worker.library.loading import DIRECTORIES_VARIABLE, load

BROKEN = Path(__file__).parent.parent / "broken"
CASES = sorted(path.stem for path in BROKEN.glob("*.yaml"))


@pytest.fixture(autouse=True)
def _in_their_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    monkeypatch.delenv(DIRECTORIES_VARIABLE, raising=False)


@pytest.mark.parametrize("name", CASES)
def test_a_broken_recipe_is_refused_with_place_and_advice(name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(f"{name}.yaml")

    assert f"{caught.value}\n" == Path(f"{name}.txt").read_text(encoding="utf-8")


def test_there_are_forty_broken_recipes_at_least() -> None:
    assert len(CASES) >= 40


def test_every_text_belongs_to_a_recipe() -> None:
    assert sorted(path.stem for path in BROKEN.glob("*.txt")) == CASES


@pytest.mark.parametrize("name", CASES)
def test_a_problem_is_a_sentence_with_a_place(name: str) -> None:
    for problem in Path(f"{name}.txt").read_text(encoding="utf-8").splitlines():
        file, line, column, message = problem.split(":", 3)

        assert Path(file).is_file()
        assert int(line) > 0
        assert int(column) > 0
        assert message.endswith((".", "?", ")"))
