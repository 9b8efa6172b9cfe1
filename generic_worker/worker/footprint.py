"""What a flow run holds while its job lasts. Thousands may wait, and Prefect keeps a copy of much for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from typing_extensions import Self


class SharedTemplate(dict[str, Any]):
    """A base job template of which a copy is itself: Prefect makes one for each flow run, and changes none."""

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        """The same."""
        return self


class Named(NamedTuple):
    """What an event says of a flow run, or of what belongs to it."""

    id: UUID
    name: str
    tags: list[str]


def names_of(related: Mapping[str, Any]) -> dict[str, Named | None]:
    """Of a flow run's deployment, flow and work pool, what an event says of them."""
    return {kind: one and Named(one.id, one.name, list(getattr(one, "tags", []))) for kind, one in related.items()}
