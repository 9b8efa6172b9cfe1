"""What `generic-worker demo` does with Prefect: a pool, a deployment, three flow runs, and what becomes of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Cancelling

from generic_worker.cli.demo.flow import wait
from generic_worker.job import JobReference
from generic_worker.library.loading import load
from generic_worker.library.template import base_job_template

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

POOL = "demo"
_EVENTS = "prefect.generic-worker.job."
_PATIENCE = 90.0
"""Seconds that the three runs may take."""


@dataclass(slots=True)
class Row:
    """One flow run of the demo, as it is shown.

    Attributes:
        name: The flow run's name, which says what is to become of it.
        expected: The state in which it has to end.
        parameters: The flow's parameters.
        variables: Its job variables.
        job: The job's id.
        seen: The states in which the job was seen.
        state: The flow run's state.
        message: The state's message.
    """

    name: str
    expected: str
    parameters: dict[str, Any]
    variables: dict[str, Any] = field(default_factory=dict)
    job: str = ""
    seen: list[str] = field(default_factory=list)
    state: str = ""
    message: str = ""

    @property
    def job_ended(self) -> bool:
        """Whether its job was seen to end."""
        return not {"succeeded", "failed", "cancelled"}.isdisjoint(self.seen)

    @property
    def good(self) -> bool:
        """Whether it ended as it should."""
        exit_code = "exit code 3" in self.message or self.expected != "Crashed"
        return self.state == self.expected and self.job_ended and exit_code


def rows() -> list[Row]:
    """The three runs."""
    dies = "sh -c 'echo There is no disk left. >&2; sleep 3; exit 3'"
    return [
        Row("completes", "Completed", {"seconds": 1}),
        Row("dies", "Crashed", {"seconds": 0}, {"command": dies}),
        Row("is-cancelled", "Cancelled", {"seconds": 600}),
    ]


async def prepare(flows: Path, env: dict[str, str], table: Sequence[Row]) -> dict[UUID, Row]:
    """Make the pool, a deployment and the three flow runs; returns the rows by flow run.

    Args:
        flows: The directory with the flow's code.
        env: Environment of the flow runs.
        table: The rows.
    """
    async with get_client() as client:
        template = base_job_template(load("process"))
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="generic", base_job_template=template))
        flow_id = await client.create_flow(wait)
        deployment = await client.create_deployment(
            flow_id,
            "demo",
            work_pool_name=POOL,
            path=str(flows),
            entrypoint="flow.py:wait",
            job_variables={"env": env},
        )
        runs = {}
        for row in table:
            run = await client.create_flow_run_from_deployment(
                deployment, name=row.name, parameters=row.parameters, job_variables=row.variables
            )
            runs[run.id] = row
        return runs


async def follow(runs: dict[UUID, Row], show: Callable[[], None], alive: Callable[[], bool]) -> None:
    """Watch the three runs to their ends, and cancel the one that is to be cancelled.

    Args:
        runs: The rows by flow run; they are filled in.
        show: Called whenever something may have changed.
        alive: Whether server and worker are still there.
    """
    deadline = time.monotonic() + _PATIENCE
    cancelled = False
    async with get_client() as client:
        while time.monotonic() < deadline and alive():
            current = [await client.read_flow_run(flow_run_id) for flow_run_id in runs]
            await _fill_in(client, runs, current)
            show()
            if all(run.state and run.state.is_final() for run in current) and all(
                row.job_ended for row in runs.values()
            ):
                return
            waiting = next((run for run in current if runs[run.id].expected == "Cancelled"), None)
            if not cancelled and waiting is not None and waiting.state and waiting.state.is_running():
                cancelled = True
                await client.set_flow_run_state(waiting.id, Cancelling())
            await asyncio.sleep(0.5)


async def _fill_in(client: PrefectClient, runs: dict[UUID, Row], current: Sequence[FlowRun]) -> None:
    for run in current:
        row, reference = runs[run.id], JobReference.parse(run.infrastructure_pid or "")
        row.job = reference.id if reference else ""
        row.state = (run.state.name or run.state.type.value) if run.state else ""
        row.message = (run.state.message or "") if run.state else ""
    wanted = {"event": {"prefix": [_EVENTS]}, "order": "ASC"}
    answer = await client.request("POST", "/events/filter", json={"filter": wanted, "limit": 50})
    for row in runs.values():
        row.seen.clear()
    for event in answer.json()["events"]:
        ids = {related["prefect.resource.id"] for related in event["related"]}
        for flow_run_id, row in runs.items():
            if f"prefect.flow-run.{flow_run_id}" in ids:
                row.seen.append(event["event"].removeprefix(_EVENTS))
