"""A package of recipes: begun by `new --pack`, installed by pip, found by name, and tested by its own test."""

import os
import subprocess
import sys

import pytest


def run(folder, *command, path=""):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))} if path else None
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with packs in it, and one to which each was installed by pip."""
    folder = tmp_path_factory.mktemp("packs")
    for pack in ("acme-recipes", "other-recipes"):
        begun = run(folder, sys.executable, "-m", "generic_worker.cli", "new", "--pack", pack)
        assert (begun.returncode, begun.stderr) == (0, f"Wrote {pack}. Next: pip install -e {pack}[test]\n")
    other = folder / "other-recipes" / "other_recipes"
    (other / "acme.yaml").write_text((other / "other.yaml").read_text().replace("name: other", "name: acme"))
    for pack in ("acme-recipes", "other-recipes"):
        pip = (
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            f"site-{pack}",
            f"./{pack}",
        )
        done = run(folder, sys.executable, *pip)
        assert done.returncode == 0, done.stderr
    return folder


def test_the_packs_own_test_passes_and_fails_with_a_wrong_recipe(installed, tmp_path):
    pack = installed / "acme-recipes"
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    good = run(pack, *command)
    (pack / "acme_recipes" / "broken.yaml").write_text("recipe: 1\nname: broken\n")
    bad = run(pack, *command)
    (pack / "acme_recipes" / "broken.yaml").unlink()

    assert good.returncode == 0, good.stdout
    assert "1 failed, 1 passed" in bad.stdout


def test_recipes_of_a_pack_have_names_and_are_extended_by_them(installed, tmp_path):
    path = [installed / "site-acme-recipes"]
    (tmp_path / "mine.yaml").write_text("recipe: 1\nname: mine\nextends: acme\n")
    listed = run(tmp_path, sys.executable, "-m", "generic_worker.cli", "list", path=path)
    checked = run(tmp_path, sys.executable, "-m", "generic_worker.cli", "check", "acme", "mine.yaml", path=path)

    assert "\n    from pack acme-recipes 0.1.0\n" in listed.stdout.partition("acme: ")[2][:200]
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_name_that_two_packs_have_is_an_error_that_names_both(installed, tmp_path):
    path = [installed / "site-acme-recipes", installed / "site-other-recipes"]
    said = (
        "acme: Several packs have a recipe of this name: acme-recipes 0.1.0 and other-recipes 0.1.0. "
        "Uninstall one, or put the one that you mean into a directory of GENERIC_WORKER_RECIPES."
    )
    shown = run(tmp_path, sys.executable, "-m", "generic_worker.cli", "show", "acme", path=path)
    listed = run(tmp_path, sys.executable, "-m", "generic_worker.cli", "list", path=path)

    assert (shown.returncode, shown.stderr) == (2, f"{said}\n")
    assert f"acme: cannot be used: {said}\n" in listed.stdout
    assert "slurm: Runs each flow run" in listed.stdout


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "taken").mkdir()
    done = run(tmp_path, sys.executable, "-m", "generic_worker.cli", "new", "--pack", "taken")

    assert (done.returncode, done.stderr) == (2, "new: taken exists, and stays as it is. Choose another name.\n")
    assert list((tmp_path / "taken").iterdir()) == []
