"""Where recipes come from: a name, a path, YAML text or a mapping; and what `extends` makes of them."""

from __future__ import annotations

import json
import os
import re
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generic_worker import checks
from generic_worker.errors import Problem, RecipeError
from generic_worker.expressions import ExpressionError, names_in
from generic_worker.recipe import Recipe  # noqa: TC001 - it stands in a module variable
from generic_worker.source import Source, closest, from_mapping, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORIES_VARIABLE = "GENERIC_WORKER_RECIPES"
"""Environment variable: directories with recipes, separated as in PATH. They come before the bundled recipes."""

_HERE = Path(__file__).parent
_BUNDLED = next(path for path in (_HERE / "recipes", _HERE.parent / "recipes") if path.is_dir())
"""Beside the modules in an installed wheel, beside the package in a source checkout."""

_NAME_RE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_RECIPES: dict[str, Recipe] = {}
"""Recipes by their content, so that all flow runs with the same recipe share one, and with it their status commands."""
_SUFFIXES = (".yaml", ".yml")
_NESTING = 20
_OUTPUT_KINDS = {"regex": {"regex"}, "json": {"json", "fields"}, "columns": {"columns", "separator"}}


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


@dataclass(frozen=True)
class _Extended(Source):
    """A source with another under it. A problem is where the text is: in the one or the other."""

    child: Source
    parent: Source

    def problem(self, path: tuple[str | int, ...], message: str) -> Problem:
        """A problem at a path, in whichever of the two files holds most of that path."""
        holder = self.child if _depth(self.child, path) >= _depth(self.parent, path) else self.parent
        return holder.problem(path, message)


def _depth(source: Source, path: tuple[str | int, ...]) -> int:
    if isinstance(source, _Extended):
        return max(_depth(source.child, path), _depth(source.parent, path))
    return next((length for length in range(len(path), 0, -1) if path[:length] in source.positions), 0)


def load(reference: str | Mapping[str, Any], name: str = "<recipe>") -> Loaded:
    """Load a recipe and everything that it extends.

    Args:
        reference: A bundled or found recipe's name, a path, YAML text, or the recipe itself as a mapping.
        name: What YAML text is called in messages.

    Raises:
        RecipeError: There is no such recipe, or it is wrong; all problems are listed.
    """
    if not isinstance(reference, str):
        return _load_mapping(json.dumps(reference, sort_keys=False))
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
    if "/" in reference or reference.endswith(_SUFFIXES):
        path = (beside or Path()) / Path(reference).expanduser()
        if path.is_file():
            return path
        raise RecipeError([Problem(reference, 0, 0, "", "there is no such file.")])
    found = _find(reference, beside)
    if found is None:
        raise RecipeError([Problem(reference, 0, 0, "", _no_such(reference))])
    return found


def found_recipes() -> dict[str, Path]:
    """Every recipe that has a name here, with its file: those in recipe directories first."""
    files = [path for folder in _directories() for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES]
    return {path.stem: path for path in reversed(files)}


def example(name: str) -> Path:
    """The file of a recipe that is there to be read and copied; it has no name that finds it."""
    return _BUNDLED / "examples" / f"{name}.yaml"


def _directories() -> list[Path]:
    listed = os.environ.get(DIRECTORIES_VARIABLE, "").split(os.pathsep)
    return [folder for folder in (*(Path(entry).expanduser() for entry in listed if entry), _BUNDLED) if folder.is_dir()]


def _find(name: str, beside: Path | None = None) -> Path | None:
    """The file of a name, in the directories where recipes are looked for."""
    if not is_name(name):
        return None
    folders = [*([beside] if beside else []), *_directories()]
    paths = (folder / f"{name}{suffix}" for folder in folders for suffix in _SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _no_such(name: str) -> str:
    suggestion = closest(name, found_recipes())
    hint = f"Did you mean {suggestion!r}?" if suggestion else f"Known: {', '.join(sorted(found_recipes()))}."
    return f"no recipe has the name {name!r}. {hint}"


def _read(path: Path) -> Source:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError([Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}.")]) from error
    except UnicodeDecodeError as error:
        raise RecipeError([Problem(str(path), 0, 0, "", f"is not UTF-8 text: {error.reason}.")]) from error
    return read_text(text, str(path))


def _finish(source: Source, path: Path | None) -> Loaded:
    merged = _extend(source, path, [path] if path else [])
    text = json.dumps(merged.data, sort_keys=True)
    if text not in _RECIPES:
        _RECIPES[text] = checks.parse(merged)
    return Loaded(_RECIPES[text], merged)


def _extend(source: Source, path: Path | None, chain: list[Path]) -> Source:
    parent_name = source.data.get("extends")
    if parent_name is None:
        return source
    if not isinstance(parent_name, str):
        raise RecipeError([source.problem(("extends",), "expected a recipe's name or path.")])
    try:
        parent_path = locate(parent_name, path.parent if path else None)
        if path and parent_path.resolve() == path.resolve():  # slurm.yaml that extends slurm means the bundled one
            parent_path = locate(parent_name)
    except RecipeError as error:
        raise RecipeError([source.problem(("extends",), error.problems[0].message)]) from None
    if parent_path.resolve() in [seen.resolve() for seen in chain] or len(chain) > _NESTING:
        names = " extends ".join(seen.name for seen in (*chain, parent_path))
        raise RecipeError([source.problem(("extends",), f"this goes round in a circle: {names}.")])
    parent = _extend(_read(parent_path), parent_path, [*chain, parent_path])
    inherited = _without_removed(parent.data, source.data)
    own = {key: value for key, value in source.data.items() if key != "extends"}
    data = {**_merge(inherited, own), "extends": parent_name}
    if "examples" not in source.data:
        data.pop("examples", None)  # they prove the parent's patterns, which the child may have changed
    return _Extended(source.name, data, source.positions, source, parent)


def _merge(parent: Any, child: Any) -> Any:  # noqa: ANN401
    """Mappings merge, lists and scalars replace, null removes, `{append: [...]}` appends to a list."""
    if isinstance(parent, list) and isinstance(child, dict) and set(child) == {"append"} and isinstance(child["append"], list):
        return [*deepcopy(parent), *child["append"]]
    if not (isinstance(parent, dict) and isinstance(child, dict)):
        return child
    merged = deepcopy(parent)
    for key, value in child.items():
        if value is None:
            merged.pop(key, None)
        else:
            below = _other_kinds_removed(merged[key], value) if key == "output" and key in merged else merged.get(key)
            merged[key] = _merge(below, value) if key in merged else value
    return merged


def _other_kinds_removed(parent: Any, child: Any) -> Any:  # noqa: ANN401
    """A parent's `output` without what belongs to another way of reading than its child's: there can be one only."""
    if not (isinstance(parent, dict) and isinstance(child, dict)):
        return parent
    kept = next((keys for kind, keys in _OUTPUT_KINDS.items() if child.get(kind) is not None), None)
    others = set().union(*_OUTPUT_KINDS.values()) - kept if kept else set()
    return {key: value for key, value in parent.items() if key not in others}


def _without_removed(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """The parent without the words that use a variable that the child removes: the option goes with it."""
    variables = child.get("variables")
    removed = {name for name, value in variables.items() if value is None} if isinstance(variables, dict) else set()
    return {key: _drop(value, removed) if key != "variables" else value for key, value in parent.items()} if removed else parent


def _drop(node: Any, removed: set[str]) -> Any:  # noqa: ANN401
    if isinstance(node, dict):
        return {key: _drop(value, removed) for key, value in node.items()}
    if isinstance(node, list):
        return [_drop(item, removed) for item in node if not _uses(item, removed)]
    return node


def _uses(item: Any, removed: set[str]) -> bool:  # noqa: ANN401
    """Whether a word, or a group of words, names a removed variable."""
    if isinstance(item, dict):
        return False
    try:
        return not removed.isdisjoint(names_in(item))
    except ExpressionError:
        return False
