"""What a recipe that extends another makes of it: mappings merge, and lists of what has names; null removes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from generic_worker.language.expressions import ExpressionError
from generic_worker.language.structures import names_in
from generic_worker.syntax.source import Source

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from generic_worker.errors import Problem
    from generic_worker.syntax.source import Path

_OUTPUT_KINDS = {"regex": {"regex"}, "json": {"json", "fields"}, "columns": {"columns", "separator"}}


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of a recipe: a scalar, a list of nodes, or nodes by key; and the text that it stands in, and where."""

    value: Any
    source: Source
    path: Path


@dataclass(frozen=True)
class _Extended(Source):
    """What became of a text and everything that it extends. A problem is in the text that has the wrong part."""

    root: _Node
    origins: Mapping[Path, _Node]

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at a path of the merged recipe, where its author finds it."""
        known = next(path[:length] for length in range(len(path), -1, -1) if path[:length] in self.origins)
        origin = self.origins[known]
        return origin.source.problem((*origin.path, *path[len(known) :]), message)


def merged(parent: Source, child: Source) -> Source:
    """What a recipe is with everything that it takes over from its parent."""
    own = _located(child)
    root = _merge(_without_removed(parent.root if isinstance(parent, _Extended) else _located(parent), own), own)
    if "examples" not in own.value:
        root.value.pop("examples", None)  # they prove the parent's patterns, which the child may have changed
    origins: dict[Path, _Node] = {}
    return _Extended(child.name, _plain(root, (), origins), child.positions, root, origins)


def _located(source: Source) -> _Node:
    def node(value: Any, path: Path) -> _Node:  # noqa: ANN401
        if isinstance(value, dict):
            return _Node({key: node(item, (*path, key)) for key, item in value.items()}, source, path)
        if isinstance(value, list):
            return _Node([node(item, (*path, index)) for index, item in enumerate(value)], source, path)
        return _Node(value, source, path)

    return node(source.data, ())


def _plain(node: _Node, path: Path, origins: dict[Path, _Node]) -> Any:  # noqa: ANN401
    """A node as plain data; `origins` learns where each part of it is from."""
    origins[path] = node
    if isinstance(node.value, dict):
        return {key: _plain(item, (*path, key), origins) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(item, (*path, index), origins) for index, item in enumerate(node.value)]
    return node.value


def _merge(parent: _Node, child: _Node) -> _Node:
    """Mappings merge, lists and scalars replace, null removes, `{append: [...]}` appends to a list.

    Lists of mappings that all have a name merge by it, and what has another name is added.
    """
    added = _appended(child)
    if added is not None and isinstance(parent.value, list):
        return replace(child, value=[*parent.value, *added])
    old, new = _by_name(parent), _by_name(child)
    if old and new:
        kept = [_merge(item, new[name]) if name in new else item for name, item in old.items()]
        return replace(child, value=kept + [item for name, item in new.items() if name not in old])
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


def _by_name(node: _Node) -> dict[str, _Node]:
    """The items of a list in which each is a mapping with a `name` of its own; nothing where some is not."""
    if not isinstance(node.value, list):
        return {}
    names = [item.value["name"].value for item in node.value if isinstance(item.value, dict) and "name" in item.value]
    unique = {name for name in names if isinstance(name, str)}
    return dict(zip(names, node.value, strict=True)) if len(unique) == len(node.value) else {}


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


def _is_entry(path: Path) -> bool:
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
