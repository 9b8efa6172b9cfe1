"""The table of recipes in README.md says what the recipes say of themselves."""

import re
from pathlib import Path

from generic_worker.library.loading import found_recipes, load

README = Path(__file__).parents[2] / "README.md"


def test_the_table_lists_every_recipe_with_what_it_needs_and_how_it_was_tried():
    table = re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \| (.+?) \|$", README.read_text(), re.MULTILINE)
    expected = []
    for name in sorted(found_recipes()):
        recipe = load(name).recipe
        needs = ", ".join(f"`{program}`" for program in recipe.requires)
        expected.append((name, needs, recipe.verified["with"], recipe.verified["by"]))

    assert table == expected
