"""Whether a worker can run its pool's recipe: each says so as a Prefect event, and whoever asks reads the last one.

A worker's host is known to nobody else. An automation can act on these events, too.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect.client.orchestration import PrefectClient
    from prefect.events import RelatedResource

_READY, _NOT_READY = "prefect.generic-worker.worker.ready", "prefect.generic-worker.worker.not-ready"


def tell_readiness(
    pool: str, worker: str, recipe: object, problems: Sequence[str], related: list[RelatedResource]
) -> None:
    """Say whether a worker can run a recipe.

    Args:
        pool: The pool's name.
        worker: The worker's.
        recipe: The recipe as it stands in the pool's template.
        problems: What keeps it from running it; nothing if it can.
        related: The pool and the worker, as resources.
    """
    emit_event(
        event=_NOT_READY if problems else _READY,
        resource={"prefect.resource.id": _resource(pool, worker), "prefect.resource.name": worker},
        related=related,
        payload={"recipe": _fingerprint(recipe), "problems": list(problems)},
    )


async def read_readiness(client: PrefectClient, pool: str, worker: str, recipe: object) -> list[str] | None:
    """What keeps a worker from running a recipe; None if it has not said so lately, or only of another recipe."""
    wanted = EventFilter(
        event=EventNameFilter(name=[_READY, _NOT_READY]), resource=EventResourceFilter(id=[_resource(pool, worker)])
    )
    events = (await client.read_events(wanted, limit=1)).events
    if not events or events[0].payload.get("recipe") != _fingerprint(recipe):
        return None
    return [str(problem) for problem in events[0].payload["problems"]]


def _resource(pool: str, worker: str) -> str:
    return f"prefect.generic-worker.worker.{pool}/{worker}"


def _fingerprint(recipe: object) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
