import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    if not (CHECKOUT / "pyproject.toml").is_file():
        pytest.skip("no checkout to build from")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A directory that holds the wheel's contents, for PYTHONPATH: what it needs is installed already."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-compile",
        "--target",
        str(folder),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def run(installed, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(installed), "PREFECT_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run(
        [sys.executable, "-P" if sys.version_info >= (3, 11) else "-B", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=installed,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_every_recipe_and_its_schema(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())

    for path in (CHECKOUT / "recipes").rglob("*"):
        if path.is_file():
            assert f"generic_worker/recipes/{path.relative_to(CHECKOUT / 'recipes').as_posix()}" in inside
    assert "generic_worker/py.typed" in inside
    assert not [name for name in inside if name.startswith("tests/")]


def test_the_installed_wheel_is_what_is_imported(installed):
    assert str(installed) in run(installed, "-c", "import generic_worker; print(generic_worker.__file__)")


def test_the_installed_wheel_finds_its_recipes(installed):
    names = json.loads(
        run(
            installed,
            "-c",
            "import json; from generic_worker.library.loading import found_recipes as found; "
            "print(json.dumps(sorted(found())))",
        )
    )

    assert names == sorted(path.stem for path in (CHECKOUT / "recipes").glob("*.yaml"))


def test_the_console_script_answers(installed):
    script = next((installed / "bin").glob("generic-worker"))

    assert "check" in run(installed, str(script), "--help")


def test_prefect_finds_the_worker_type(installed):
    code = "from prefect.workers.base import BaseWorker as B; print(B.get_worker_class_from_type('generic').__module__)"

    assert run(installed, "-c", code).strip() == "generic_worker.worker.registered"


@pytest.mark.parametrize("words", [["check", "slurm"], ["--help"]])
def test_the_command_line_does_its_work_without_prefect(installed, words):
    code = f"""
import runpy, sys
sys.argv = ["generic-worker", *{words}]
try:
    runpy.run_module("generic_worker.cli", run_name="__main__")
finally:
    print([name for name in sys.modules if name.split(".")[0] == "prefect"])
"""

    assert run(installed, "-c", code).splitlines()[-1] == "[]"


def test_the_package_is_imported_without_prefect(installed):
    code = "import sys, generic_worker; print([name for name in sys.modules if name.split('.')[0] == 'prefect'])"

    assert run(installed, "-c", code).strip() == "[]"
