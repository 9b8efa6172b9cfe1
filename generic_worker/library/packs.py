"""Recipes that come as Python packages, each named by an entry point of the group `generic_worker.recipes`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

GROUP = "generic_worker.recipes"


@dataclass(frozen=True, slots=True)
class Pack:
    """A team's recipes, as they are installed.

    Attributes:
        name: The distribution and its version, for people.
        folder: Where its YAML files are.
    """

    name: str
    folder: Path


@lru_cache(maxsize=1)
def packs() -> tuple[Pack, ...]:
    """The packs that are installed. Nothing of them is imported; one whose package is not there is none."""
    found = []
    for point in entry_points(group=GROUP):
        name = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.name
        try:
            spec = find_spec(point.value)
        except ImportError:
            spec = None
        found += [Pack(name, Path(folder)) for folder in (spec and spec.submodule_search_locations) or ()]
    return tuple(sorted((pack for pack in found if pack.folder.is_dir()), key=lambda pack: pack.name))
