"""The map in CONTRIBUTING.md is that of the folders, and of the import contracts in pyproject.toml."""

import re
from pathlib import Path

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings it under its older name
    import tomli as tomllib

CHECKOUT = Path(__file__).parents[2]
HOUSE = CHECKOUT / "generic_worker"
MAP = (CHECKOUT / "CONTRIBUTING.md").read_text().partition("## The map of the house\n")[2].partition("\n## ")[0]
CONTRACTS = {
    contract["type"]: contract
    for contract in tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
ROWS = re.findall(r"^\| (\d) \| (.+?) \| .+? \| (.+) \|$", MAP, re.MULTILINE)
NAME_RE = re.compile(r"`([a-z_]+(?:/[a-z_]+)*)`")


def named(cell):
    """What a cell of the map names, without the clauses in brackets."""
    return NAME_RE.findall(re.sub(r"\(.*?\)", "", cell))


def modules(folder, pattern):
    """The modules of a folder, as the map writes them."""
    paths = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob(pattern))
    return [path for path in paths if not path.endswith("__")]


def test_the_lines_are_those_of_the_import_contract():
    lines = {}
    for line, package, names in ROWS:
        lines.setdefault(int(line), []).extend(named(package.replace("/`", "`")) or named(names))
    layers = {number: layer.split(" | ") for number, layer in enumerate(CONTRACTS["layers"]["layers"], start=1)}

    assert lines == layers


@pytest.mark.parametrize(("package", "listed"), [(package, listed) for _, package, listed in ROWS])
def test_a_package_has_the_modules_that_its_row_lists(package, listed):
    packaged = package.startswith("`")
    present = modules(HOUSE / package.strip("`/"), "**/*.py") if packaged else modules(HOUSE, "*.py")
    not_listed, not_there = set(present) - set(named(listed)), set(named(listed)) - set(present)

    assert (not_listed, not_there) == (set(), set()), (
        f"CONTRIBUTING.md, the map of the house, row {package}: add {sorted(not_listed)}, remove {sorted(not_there)}"
    )


def test_those_that_know_prefect_are_those_of_the_import_contract():
    (sentence,) = re.findall(r"^Only (.+) know Prefect\.$", MAP, re.MULTILINE)
    allowed = CONTRACTS["protected"]["allowed_importers"]

    assert [f"generic_worker.{name.replace('/', '.')}" for name in named(sentence)] == allowed


def test_every_file_that_the_map_sends_to_is_there():
    files = re.findall(r"`([a-z_/]+\.py)`", MAP)

    assert files
    assert [file for file in files if not (HOUSE / file).is_file() and not (CHECKOUT / file).is_file()] == []


def test_no_module_has_more_than_300_lines():
    sizes = {path: len(path.read_text().splitlines()) for path in HOUSE.rglob("*.py")}

    assert [f"{path.relative_to(HOUSE)}: {lines}" for path, lines in sizes.items() if lines > 300] == []
