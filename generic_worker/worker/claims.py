"""Whose a flow run is: always one worker's, whatever is late, repeated or lost on the way.

Each time that a flow run is picked up is an *attempt*. It begins with a Pending state that follows a state of another
type, and is called by that state's id. The workers that have had an attempt stand in its *claims*, numbered from 0; it
belongs to the one that wrote the last. Whoever picks a run up writes number 0, whoever takes it over the next number.

A claim is a flow run input of Prefect's, and its key is made of the attempt and the number. The API's database lets no
two inputs of a flow run have the same key (a unique constraint, in SQLite as in PostgreSQL). So of all that write one
number exactly one is told that it was written, and every other that it is there already (409), however many API
servers there are and in whatever order the requests arrive. That is enough, because nothing else is relied on:

- A request that comes late, from a worker that was stopped or cut off, finds its number taken, and changes nothing.
- A request that is repeated because its answer was lost finds its own process in the claim: it has been successful.
- Nobody writes a number without having seen who has the one before, so nobody is passed over unseen.
- No clock is compared, and no state, label or pid, all of which the last writer wins.

Setting a state would not be enough. The API lets one of two workers make a Scheduled run Pending; but it accepts the
same Pending once more when the run has been handed back, or has ended, meanwhile.

A claim cannot stop its loser: before it changes a run, or submits a job, each worker looks whether it still has the
last claim. See `attempts`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count, takewhile
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient

_MOST = 10_000
"""Claims of one attempt that are read: each stands for a worker that was gone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What stands in a claim.

    Attributes:
        worker: The name of the worker that wrote it.
        process: Which process of that name: each has another, made up when it starts.
        written: When it was written, by the API's clock; None in one that is about to be.
    """

    worker: str
    process: str
    written: datetime | None = None


async def write_claim(client: PrefectClient, flow_run_id: UUID, attempt: UUID, number: int, claim: Claim) -> bool:
    """Write a claim; returns whether it is this one that stands there now. In a deleted flow run none does.

    Raises:
        httpx.HTTPStatusError: The API refused for another reason.
        httpx.TransportError: It did not answer; the claim may have been written.
    """
    value = json.dumps({"worker": claim.worker, "process": claim.process})
    try:
        await client.create_flow_run_input(flow_run_id, _key(attempt, number), value)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.NOT_FOUND:
            return False
        if error.response.status_code != httpx.codes.CONFLICT:
            raise
        there = await read_claims(client, flow_run_id, attempt)
        return number < len(there) and there[number].process == claim.process
    return True


async def read_claims(client: PrefectClient, flow_run_id: UUID, attempt: UUID) -> list[Claim]:
    """All the claims of an attempt, number 0 first.

    Raises:
        httpx.HTTPError: The API did not answer.
    """
    inputs = await client.filter_flow_run_input(flow_run_id, _key(attempt, ""), _MOST, set())
    found = {one.key: one for one in inputs}
    numbered = takewhile(lambda one: one is not None, (found.get(_key(attempt, number)) for number in count()))
    return [Claim(*_written_by(one.value), one.created) for one in numbered if one]


def _key(attempt: UUID, number: int | str) -> str:
    return f"generic-worker-{attempt.hex}-{number}"


def _written_by(value: str) -> tuple[str, str]:
    """The worker and the process that wrote a claim. Who may change a flow run can write anything; that is nobody's."""
    try:
        found = json.loads(value)
        return str(found["worker"]), str(found["process"])
    except (ValueError, TypeError, LookupError):
        return "", ""
