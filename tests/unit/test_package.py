"""What `import generic_worker` gives, and what it must not load."""

import subprocess
import sys

import pytest

import generic_worker

PROGRAM = """
import sys
import generic_worker

loaded = {name for name in sys.modules if name.partition(".")[0] in {"prefect", "pydantic", "yaml", "jinja2"}}
assert not loaded, loaded
assert set(generic_worker.__all__) <= set(dir(generic_worker))
from generic_worker import RecipeError, base_job_template, load_recipe

assert base_job_template(load_recipe("slurm"))["job_configuration"]["recipe"]["name"] == "slurm"
assert "prefect" not in sys.modules
"""


def test_importing_the_package_loads_nothing_but_what_is_asked_for():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)


def test_every_public_name_is_there_and_is_what_it_says():
    assert [name for name in generic_worker.__all__ if getattr(generic_worker, name).__name__ != name] == [
        "load_recipe"
    ]


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="module 'generic_worker' has no attribute 'load'"):
        _ = generic_worker.load
