"""Where recipes come from: a name, a path, YAML text or a mapping, with all that they extend."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generic_worker.errors import Problem, RecipeError
from generic_worker.language.recipe import Recipe  # noqa: TC001 - it stands in a module variable
from generic_worker.library import checks, inheritance
from generic_worker.library.packs import packs
from generic_worker.library.validation import shape_problems
from generic_worker.syntax.source import Source, closest, from_mapping
from generic_worker.syntax.yaml_text import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DIRECTORIES_VARIABLE = "GENERIC_WORKER_RECIPES"
"""Environment variable: directories with recipes, separated as in PATH. They come before the bundled recipes."""

_PACKAGE = Path(__file__).parents[1]
_BUNDLED = next(path for path in (_PACKAGE / "recipes", _PACKAGE.parent / "recipes") if path.is_dir())
"""Beside the modules in an installed wheel, beside the package in a source checkout."""

_NAME_RE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_RECIPES: dict[str, Recipe] = {}
"""Recipes by their content, so that all flow runs with the same recipe share one, and with it their status commands."""
_SUFFIXES = (".yaml", ".yml")
_NESTING = 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """A recipe that can be used, and where it is from.

    Attributes:
        recipe: The recipe.
        source: Its text's data and positions, with everything that it extends merged in.
    """

    recipe: Recipe
    source: Source

    @property
    def data(self) -> dict[str, Any]:
        """The whole recipe as plain data, fit for a base job template: nothing is looked up any more."""
        return {key: value for key, value in self.source.data.items() if key != "extends"}


def load(reference: str | Mapping[str, Any], name: str = "<recipe>") -> Loaded:
    """Load a recipe and everything that it extends.

    Args:
        reference: A bundled or found recipe's name, a path, YAML text, or the recipe itself as a mapping.
        name: What YAML text is called in messages.

    Raises:
        RecipeError: There is no such recipe, or it is wrong; all problems are listed.
    """
    if not isinstance(reference, str):
        text = json.dumps(reference)
        return _load_mapping(text) if "extends" not in reference else _load_mapping.__wrapped__(text)
    if "\n" in reference:
        return _finish(read_text(reference, name), None)
    path = locate(reference)
    return _finish(_read(path), path)


def is_name(reference: object) -> bool:
    """Whether a reference is a plain name: it finds a file in a recipe directory, and cannot lead out of it."""
    return isinstance(reference, str) and bool(_NAME_RE.fullmatch(reference))


@lru_cache(maxsize=64)
def _load_mapping(text: str) -> Loaded:
    """Every flow run of a pool brings the same mapping: it is checked once."""
    return _finish(from_mapping(json.loads(text), "recipe"), None)


def locate(reference: str, beside: Path | None = None) -> Path:
    """The file of a recipe's name or path.

    Args:
        reference: The name or path.
        beside: The directory that a relative path starts from; the current one when left out.

    Raises:
        RecipeError: There is no such file.
    """
    if _is_path(reference):
        path = (beside or Path()) / Path(reference).expanduser()
        if path.is_dir():
            raise RecipeError([Problem(reference, 0, 0, "", "It is a directory. Write the path of a recipe's file.")])
        if path.exists():  # a pipe too
            return path
        raise RecipeError([Problem(reference, 0, 0, "", "There is no such file.")])
    found = next(_named(reference, beside), None)
    if found is None:
        raise RecipeError([Problem(reference, 0, 0, "", _no_such(reference))])
    return found


def found_recipes() -> dict[str, Path]:
    """Every recipe that has a name here, with its file: those in recipe directories first, then those of packs."""
    folders = [*_listed(), *(pack.folder for pack in packs()), _BUNDLED]
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES]
    return {path.stem: path for path in reversed(files) if is_name(path.stem)}


def example(name: str) -> Path:
    """The file of a recipe that is there to be read and copied; it has no name that finds it."""
    return _BUNDLED / "examples" / f"{name}.yaml"


def origin(path: Path) -> str:
    """Where a recipe that has a name comes from, for people."""
    pack = next((pack.name for pack in packs() if pack.folder == path.parent), None)
    return f"pack {pack}" if pack else "bundled" if path.parent == _BUNDLED else str(path.parent)


def _listed() -> list[Path]:
    listed = [Path(entry).expanduser() for entry in os.environ.get(DIRECTORIES_VARIABLE, "").split(os.pathsep) if entry]
    return [folder for folder in listed if folder.is_dir()]


def _is_path(reference: str) -> bool:
    return "/" in reference or reference.endswith(_SUFFIXES)


def _named(name: str, beside: Path | None = None) -> Iterator[Path]:
    """The files of a name, in the order in which recipes are looked for.

    Raises:
        RecipeError: Two packs have it, and nothing that comes before was what is wanted.
    """
    if not is_name(name):
        return
    for folder in [*([beside] if beside else []), *_listed()]:
        yield from _files(folder, name)
    having = [pack for pack in packs() if any(_files(pack.folder, name))]
    if len(having) > 1:
        both = " and ".join(pack.name for pack in having)
        hint = "Uninstall one, or put the one that you mean into a directory of GENERIC_WORKER_RECIPES."
        raise RecipeError([Problem(name, 0, 0, "", f"Several packs have a recipe of this name: {both}. {hint}")])
    for folder in [*(pack.folder for pack in having), _BUNDLED]:
        yield from _files(folder, name)


def _files(folder: Path, name: str) -> list[Path]:
    return [path for suffix in _SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]


def _no_such(name: str) -> str:
    suggestion = closest(name, found_recipes())
    hint = f"Did you mean {suggestion!r}?" if suggestion else f"Known: {', '.join(sorted(found_recipes()))}."
    return f"No recipe has the name {name!r}. {hint}"


def _read(path: Path) -> Source:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError([Problem(str(path), 0, 0, "", f"It cannot be read: {error.strerror}.")]) from error
    except UnicodeDecodeError as error:
        raise RecipeError([Problem(str(path), 0, 0, "", f"It is not UTF-8 text: {error.reason}.")]) from error
    return read_text(text, str(path))


def _finish(source: Source, path: Path | None) -> Loaded:
    merged = _extend(source, path, [path] if path else [])
    text = json.dumps(merged.data, sort_keys=True)
    if text not in _RECIPES:
        _RECIPES[text] = checks.parse(merged)
    return Loaded(_RECIPES[text], merged)


def _extend(source: Source, path: Path | None, chain: list[Path]) -> Source:
    if source.data.get("extends") is None:
        return source
    try:
        parent_path = _parent(source.data["extends"], path, chain)
    except RecipeError as error:
        wrong = [source.problem(("extends",), problem.message) for problem in error.problems]
        raise RecipeError([*wrong, *shape_problems(source, partial=True)]) from None
    parent = _extend(_read(parent_path), parent_path, [*chain, parent_path])
    return inheritance.merged(parent, source)


def _parent(name: object, path: Path | None, chain: list[Path]) -> Path:
    """The file that a recipe extends. `slurm.yaml` that extends `slurm` means the next recipe of that name.

    Raises:
        RecipeError: There is none, or it is the recipe itself or one that extends it.
    """
    if not isinstance(name, str):
        raise RecipeError([])  # its shape is wrong, and that is told anyway
    beside, seen = path.parent if path else None, [file.resolve() for file in chain]
    if path and name == path.stem and not _is_path(name):
        found = next((file for file in _named(name, beside) if file.resolve() not in seen), None)
        if found is None:
            raise RecipeError([Problem("", 0, 0, "", f"There is no other recipe with the name {name!r}.")])
        return found
    if _is_path(name) and not ((beside or Path()) / Path(name).expanduser()).is_file():
        raise RecipeError([Problem("", 0, 0, "", f"There is no file {name!r}.")])
    found = locate(name, beside)
    if found.resolve() in seen or len(chain) > _NESTING:
        names = " extends ".join(file.name for file in (*chain, found))
        raise RecipeError([Problem("", 0, 0, "", f"This goes round in a circle: {names}.")])
    return found
