"""recipes/running-in-production.md explains messages that the program really prints."""

import re
from pathlib import Path

import pytest

from generic_worker.library.loading import found_recipes, load

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "recipes" / "running-in-production.md").read_text()
MESSAGES = re.findall(r"^### `(.+)`$", GUIDE, re.MULTILINE)


def test_there_are_messages_to_look_for():
    assert len(MESSAGES) >= 10


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_is_explained_is_one_of_ours(message):
    texts = (path.read_text() for path in (ROOT / "generic_worker").rglob("*.py"))
    joined = re.compile(r'"\s*\n\s*f?"')  # a literal that goes on in the next line

    assert any(message in joined.sub("", text) for text in texts)


@pytest.mark.parametrize("name", sorted(found_recipes()))
def test_what_a_variable_hands_out_stands_in_its_description_and_in_the_guide(name):
    rows = re.findall(r"^\| (`[a-z`_, ()-]+) \| ", GUIDE, re.MULTILINE)
    listed = [cell for cells in rows for cell in re.findall(r"(?:`\w+`(?:, )?)+(?: \([a-z, -]+\))?", cells)]

    for variable, schema in load(name).recipe.variables.items():
        if "Whoever may set" in schema.get("description", ""):
            places = [cell for cell in listed if f"`{variable}`" in cell]
            assert any("(" not in cell or re.search(rf"\b({name}|clouds)\b", cell) for cell in places), variable
