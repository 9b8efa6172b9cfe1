"""Where recipes come from: a name, a path, YAML text or a mapping; and what `extends` makes of them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generic_worker import checks
from generic_worker.errors import Problem, RecipeError
from generic_worker.expressions import ExpressionError
from generic_worker.recipe import Recipe  # noqa: TC001 - it stands in a module variable
from generic_worker.shapes import shape_problems
from generic_worker.source import Source, closest, from_mapping
from generic_worker.structures import names_in
from generic_worker.yaml_text import read_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from generic_worker.source import Path as Place

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


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of a recipe: a scalar, a list of nodes, or nodes by key; and the text that it stands in, and where."""

    value: Any
    source: Source
    path: Place


@dataclass(frozen=True)
class _Extended(Source):
    """What became of a text and everything that it extends. A problem is in the text that has the wrong part."""

    root: _Node
    origins: Mapping[Place, _Node]

    def problem(self, path: Place, message: str) -> Problem:
        """A problem at a path of the merged recipe, where its author finds it."""
        known = next(path[:length] for length in range(len(path), -1, -1) if path[:length] in self.origins)
        origin = self.origins[known]
        return origin.source.problem((*origin.path, *path[len(known) :]), message)


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
        if path.is_file():
            return path
        raise RecipeError([Problem(reference, 0, 0, "", "There is no such file.")])
    found = next(_named(reference, beside), None)
    if found is None:
        raise RecipeError([Problem(reference, 0, 0, "", _no_such(reference))])
    return found


def found_recipes() -> dict[str, Path]:
    """Every recipe that has a name here, with its file: those in recipe directories first."""
    files = [path for folder in _directories() for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES]
    return {path.stem: path for path in reversed(files) if is_name(path.stem)}


def example(name: str) -> Path:
    """The file of a recipe that is there to be read and copied; it has no name that finds it."""
    return _BUNDLED / "examples" / f"{name}.yaml"


def _directories() -> list[Path]:
    listed = [Path(entry).expanduser() for entry in os.environ.get(DIRECTORIES_VARIABLE, "").split(os.pathsep) if entry]
    return [folder for folder in (*listed, _BUNDLED) if folder.is_dir()]


def _is_path(reference: str) -> bool:
    return "/" in reference or reference.endswith(_SUFFIXES)


def _named(name: str, beside: Path | None = None) -> Iterator[Path]:
    """The files of a name, in the order in which recipes are looked for."""
    folders = [*([beside] if beside else []), *_directories()] if is_name(name) else []
    paths = (folder / f"{name}{suffix}" for folder in folders for suffix in _SUFFIXES)
    return (path for path in paths if path.is_file())


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
    own = _located(source)
    root = _merge(_without_removed(parent.root if isinstance(parent, _Extended) else _located(parent), own), own)
    if "examples" not in own.value:
        root.value.pop("examples", None)  # they prove the parent's patterns, which the child may have changed
    origins: dict[Place, _Node] = {}
    return _Extended(source.name, _plain(root, (), origins), source.positions, root, origins)


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


def _located(source: Source) -> _Node:
    def node(value: Any, path: Place) -> _Node:  # noqa: ANN401
        if isinstance(value, dict):
            return _Node({key: node(item, (*path, key)) for key, item in value.items()}, source, path)
        if isinstance(value, list):
            return _Node([node(item, (*path, index)) for index, item in enumerate(value)], source, path)
        return _Node(value, source, path)

    return node(source.data, ())


def _plain(node: _Node, path: Place, origins: dict[Place, _Node]) -> Any:  # noqa: ANN401
    """A node as plain data; `origins` learns where each part of it is from."""
    origins[path] = node
    if isinstance(node.value, dict):
        return {key: _plain(item, (*path, key), origins) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(item, (*path, index), origins) for index, item in enumerate(node.value)]
    return node.value


def _merge(parent: _Node, child: _Node) -> _Node:
    """Mappings merge, lists and scalars replace, null removes, `{append: [...]}` appends to a list."""
    added = _appended(child)
    if added is not None and isinstance(parent.value, list):
        return replace(child, value=[*parent.value, *added])
    if not (isinstance(parent.value, dict) and isinstance(child.value, dict)):
        return child
    merged = dict(parent.value)
    for key, node in child.value.items():
        if node.value is None:
            merged.pop(key, None)
        elif key in merged:
            merged[key] = _merge(_of_kind(merged[key], node) if key == "output" else merged[key], node)
        else:
            added = _appended(node)
            merged[key] = node if added is None else replace(node, value=added)
    return replace(child, value=merged)


def _appended(node: _Node) -> list[_Node] | None:
    """The items of `{append: [...]}`."""
    if not (isinstance(node.value, dict) and set(node.value) == {"append"}):
        return None
    items = node.value["append"].value
    return items if isinstance(items, list) else None


def _of_kind(parent: _Node, child: _Node) -> _Node:
    """A parent's `output` without what belongs to another way of reading than its child's: there can be one only."""
    if not (isinstance(parent.value, dict) and isinstance(child.value, dict)):
        return parent
    given = {key for key, node in child.value.items() if node.value is not None}
    kept = next((keys for kind, keys in _OUTPUT_KINDS.items() if kind in given), None)
    others = set().union(*_OUTPUT_KINDS.values()) - kept if kept else set()
    return replace(parent, value={key: node for key, node in parent.value.items() if key not in others})


def _without_removed(parent: _Node, child: _Node) -> _Node:
    """The parent without the words that use a variable that the child removes: the option goes with it."""
    variables = child.value["variables"].value if "variables" in child.value else None
    removed = {name for name, node in variables.items() if node.value is None} if isinstance(variables, dict) else set()
    return _drop(parent, removed) if removed else parent


def _drop(node: _Node, removed: Collection[str]) -> _Node:
    """A node without the words, items and entries that would be null for want of a removed variable."""
    if isinstance(node.value, dict):
        entries = {key: item for key, item in node.value.items() if not (_is_entry(item.path) and _uses(item, removed))}
        return replace(node, value={key: _drop(item, removed) for key, item in entries.items()})
    if isinstance(node.value, list):
        names = removed if node.path == ("required",) else ()
        kept = [item for item in node.value if not (item.value in names or _uses(item, removed))]
        return replace(node, value=[_drop(item, removed) for item in kept])
    return node


def _is_entry(path: Place) -> bool:
    """Whether a path is that of an entry in an environment or a structure, which is left out when it is null."""
    root = next((index for index, key in enumerate(path) if key in {"env", "stdin", "files"}), len(path))
    return len(path) > root + (2 if "files" in path[root : root + 1] else 1)


def _uses(node: _Node, removed: Collection[str]) -> bool:
    """Whether a text, or a group of words, names a removed variable."""
    if isinstance(node.value, dict) or (isinstance(node.value, list) and _is_entry(node.path)):
        return False
    try:
        return not names_in(_plain(node, (), {})).isdisjoint(removed)
    except ExpressionError:
        return False
