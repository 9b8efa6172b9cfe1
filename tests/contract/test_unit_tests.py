"""Each module has its test file, or CONTRIBUTING.md says where it is tested; and no test asserts a duration."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "generic_worker"
CONTRIBUTING = TESTS.parent / "CONTRIBUTING.md"
HEADING = "### Modules without a unit test file"
OF_SEVERAL = {
    "jobs/test_faulty_scheduler.py",  # all of jobs together
    "test_fault_proxy.py",  # a tool of the tests
    "test_package.py",  # what the package itself gives
    "worker/test_customisation.py",  # templates, recipes and configurations together
}
"""Test files that are about no module, or about several on purpose."""


def modules():
    """Every module that has something in it, by its path in the package."""
    found = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return {str(path) for path in found if path.name not in {"__init__.py", "__main__.py"}}


def called_after():
    """The modules that test files are called after."""
    found = (path.relative_to(TESTS / "unit") for path in (TESTS / "unit").rglob("test_*.py"))
    return {str(path): str(path.with_name(path.name.removeprefix("test_"))) for path in found}


def excused():
    """The modules of the table in CONTRIBUTING.md, with where they are tested."""
    if not CONTRIBUTING.is_file():
        pytest.skip("not a checkout")
    section = CONTRIBUTING.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n#")[0]
    rows = re.findall(r"^\| `([\w/.]+)` \| (.+?) \| .+ \|$", section, re.MULTILINE)
    assert rows
    return {module: re.findall(r"`([^`]+)`", places) for module, places in rows}


def test_every_module_has_its_test_file_or_a_reason():
    assert sorted(modules() - set(called_after().values())) == sorted(excused())


def test_what_a_reason_names_is_there():
    missing = {place for places in excused().values() for place in places if not (TESTS.parent / place).is_file()}

    assert all(excused().values())
    assert missing == set()


def test_a_test_file_is_called_after_a_module_that_there_is():
    assert {name for name, module in called_after().items() if module not in modules()} == OF_SEVERAL
