"""`generic-worker new --pack NAME`: the beginning of a package of recipes, with its test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generic_worker.library.loading import example

if TYPE_CHECKING:
    from pathlib import Path

_FILES = {"pyproject.toml": "pyproject.toml", "README.md": "README.md", "test_recipes.py": "tests/test_recipes.py"}
"""What is copied from the example, and where to."""


def begin(pack: str, recipe_text: str, folder: Path) -> list[Path]:
    """Write a package of recipes.

    Args:
        pack: Its name.
        recipe_text: Its first recipe.
        folder: Where to; it must not be there yet.

    Returns:
        The files that were written.

    Raises:
        FileExistsError: The folder is there.
        OSError: It cannot be written.
    """
    package = pack.replace("-", "_")
    source = example("skeleton").parent / "pack"
    texts = {target: (source / name).read_text(encoding="utf-8") for name, target in _FILES.items()}
    texts = {target: text.replace("PACKAGE", package).replace("PACK", pack) for target, text in texts.items()}
    texts |= {
        f"{package}/__init__.py": f'"""The recipes of {pack}."""\n',
        f"{package}/{recipe_name(pack)}.yaml": recipe_text,
    }
    folder.mkdir(parents=True)
    for target, text in texts.items():
        path = folder / target
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [folder / target for target in texts]


def recipe_name(pack: str) -> str:
    """The name of a pack's first recipe: `acme` in `acme-recipes`."""
    return pack.removesuffix("-recipes") or pack
