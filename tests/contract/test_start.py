"""What Prefect has to load of this package when it starts a worker of another type: the name of ours."""

import subprocess
import sys

LOADED = """
import sys
from prefect.plugins import load_prefect_collections
before = set(sys.modules)
load_prefect_collections()
print(*sorted(name for name in set(sys.modules) - before if {roots}))
"""


def loaded(roots):
    """The modules that come with the installed worker types, of those that a condition on their `name` holds for."""
    words = [sys.executable, "-c", LOADED.format(roots=roots)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def test_nothing_of_the_package_is_loaded_until_a_worker_is_made():
    assert loaded('name.startswith("generic_worker")') == [
        "generic_worker",
        "generic_worker.worker",
        "generic_worker.worker.registered",
    ]


def test_no_library_of_the_recipe_language_is_loaded_either():
    assert loaded('name.split(".")[0] in {"jsonpath_ng", "sh", "tenacity", "prometheus_client"}') == []
