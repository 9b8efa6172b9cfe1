"""Every recipe of this pack is right, and its examples hold."""

import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = sorted((Path(__file__).parents[1] / "PACKAGE").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_right_and_its_examples_hold(recipe):
    command = [sys.executable, "-m", "generic_worker.cli", "check", str(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
