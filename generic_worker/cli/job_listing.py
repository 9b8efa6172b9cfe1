"""`generic-worker jobs`: the active flow runs of a work pool, and what the infrastructure says of their jobs now.

It only reads: nothing is submitted, cancelled or cleaned up, and nothing is written to Prefect.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from generic_worker.commands.runner import CommandRunner
from generic_worker.errors import GenericWorkerError, visible
from generic_worker.job import Job, JobReference, JobState
from generic_worker.jobs.driver import Driver
from generic_worker.worker.configuration import GenericWorkerJobConfiguration
from generic_worker.worker.queries import ACTIVE, runs_of_pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, WorkPool

_EVERY = 15.0
"""Seconds between two looks of `--watch`."""
_PATIENCE = 3.0
"""Seconds in which the API has to answer the first call."""
_BESIDE_ID = 60
"""Columns of a terminal that all other columns of the table need beside a job's id."""
_NARROWEST = 24
"""Columns that a job has at least where it stands in lines below each other."""
_TITLES = ("flow run", "is", "since", "job", "state", "reason", "answered")


@dataclass
class Row:
    """One active flow run.

    Attributes:
        flow_run: Its name.
        flow_run_id: Its id.
        flow_run_state: The name of its state.
        since: When it got into that state.
        job: The id of its job; empty if it has none yet.
        state: The infrastructure's own word for the job's state; or `unknown`, `absent`, `not submitted`, `elsewhere`.
        reason: Why, in the infrastructure's words or ours.
        answered: When the infrastructure said so; None if it did not.
    """

    flow_run: str
    flow_run_id: str
    flow_run_state: str
    since: datetime | None
    job: str = ""
    state: str = "not submitted"
    reason: str = ""
    answered: datetime | None = None


@dataclass
class Jobs:
    """The active flow runs of a pool.

    Attributes:
        rows: One for each, the last to have changed first.
        troubles: What the infrastructure said where it did not answer.
    """

    rows: list[Row] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


class ApiSilentError(GenericWorkerError):
    """The Prefect API cannot be reached, or does not answer in time."""


class JobLister:
    """Looks at a pool again and again.

    Args:
        pool: The pool's name.
    """

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._configurations: dict[str, GenericWorkerJobConfiguration] = {}
        self._drivers: dict[int, Driver] = {}

    async def look(self) -> Jobs:
        """Read the flow runs, and ask about all their jobs at once.

        Raises:
            ApiSilentError: The API cannot be reached, or does not answer in time.
            GenericWorkerError: There is no such pool, or it is not of this type.
        """
        url = PREFECT_API_URL.value()
        if not url:
            raise GenericWorkerError("PREFECT_API_URL is not set: set it to the address of your Prefect server's API.")
        try:
            async with get_client() as client:
                pool = await asyncio.wait_for(client.read_work_pool(self._pool), _PATIENCE)
                if pool.type != "generic":
                    raise GenericWorkerError(f"The work pool {self._pool!r} is of type {pool.type!r}, not 'generic'.")
                runs = await runs_of_pool(client, self._pool, ACTIVE)
                return await self._ask(client, pool, runs)
        except ObjectNotFound:
            raise GenericWorkerError(f"There is no work pool {self._pool!r} at {url}.") from None
        except asyncio.TimeoutError:
            raise ApiSilentError(f"The Prefect API at {url} does not answer within {_PATIENCE:g} s.") from None
        except httpx.HTTPError as error:
            raise ApiSilentError(f"The Prefect API at {url} cannot be reached: {error}.") from None

    async def _ask(self, client: PrefectClient, pool: WorkPool, runs: Sequence[FlowRun]) -> Jobs:
        found = Jobs()
        jobs: dict[Driver, dict[Job, Row]] = {}
        for run in runs:
            state = run.state
            row = Row(run.name, str(run.id), state.name or "" if state else "", state.timestamp if state else None)
            found.rows.append(row)
            try:
                driver, job = await self._job(client, pool, run, row)
            except GenericWorkerError as error:
                row.state, row.reason = "unknown", str(error)
                continue
            if job is not None:
                jobs.setdefault(driver, {})[job] = row
        for driver, rows in jobs.items():
            await _fill(driver, rows, found.troubles)
        found.rows.sort(key=lambda row: row.since.timestamp() if row.since else 0, reverse=True)
        return found

    async def _job(self, client: PrefectClient, pool: WorkPool, run: FlowRun, row: Row) -> tuple[Driver, Job | None]:
        """A run's job as its pid has it; None if it has none, or one that cannot be asked about from here."""
        configuration = await self._configuration(client, pool, run)
        recipe = configuration.loaded_recipe
        driver = self._drivers.setdefault(id(recipe), Driver(recipe, CommandRunner(recipe.policy.commands)))
        reference = JobReference.parse(run.infrastructure_pid or "")
        if reference is None:
            return driver, None
        row.job = reference.id
        job = configuration.job(run, reference)
        if reference.recipe != recipe.name:
            row.state, row.reason = "unknown", f"it is a job of the recipe {reference.recipe}, and the pool has another"
            return driver, None
        if driver.scope(job.values) != job.scope:
            row.state, row.reason = "elsewhere", f"ask on {job.scope}"
            return driver, None
        return driver, job

    async def _configuration(
        self, client: PrefectClient, pool: WorkPool, run: FlowRun
    ) -> GenericWorkerJobConfiguration:
        """A run's job configuration; that of another run with the same variables asks the same."""
        known = repr([run.deployment_id, run.job_variables, pool.updated])
        if known not in self._configurations:
            self._configurations[known] = await GenericWorkerJobConfiguration.resolve_for_flow_run(
                run, client=client, work_pool=pool, worker_name="generic-worker jobs"
            )
        return self._configurations[known]


async def _fill(driver: Driver, rows: Mapping[Job, Row], troubles: list[str]) -> None:
    """Complete the rows of one recipe with what the infrastructure says."""
    without_id = [job for job in rows if not job.id]
    if without_id and driver.recipe.find is not None:
        found, unsure = await driver.find(without_id)
        for job in without_id:
            rows[job].job = job.id
            if job in unsure:
                rows[job].state = "unknown"
        troubles += list(dict.fromkeys(unsure.values()))
        without_id = [job for job in without_id if job not in found]
    asked = [job for job in rows if job not in without_id]
    report = await driver.status(asked)
    if report.trouble:
        troubles.append(report.trouble)
    now = datetime.now(timezone.utc)
    for job in asked:
        status, row = report.statuses[job], rows[job]
        row.state, row.reason = status.word or status.state.value, status.reason
        if status.state is not JobState.UNKNOWN or status.word:
            row.answered = now


def list_jobs(pool: str, *, watch: bool, as_json: bool) -> int:
    """Print the active flow runs of a pool.

    Returns:
        An exit code: 0 when the infrastructure has answered about all jobs, otherwise 1.

    Raises:
        GenericWorkerError: As in `JobLister.look`.
    """
    lister = JobLister(pool)
    if not watch:
        return _print(asyncio.run(lister.look()), as_json=as_json)
    asyncio.run(_watch(lister))
    return 0


async def _watch(lister: JobLister) -> None:
    jobs, silent = await lister.look(), ""
    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            live.update(_table(jobs, silent, width=console.width), refresh=True)
            await asyncio.sleep(_EVERY)
            try:
                jobs, silent = await lister.look(), ""
            except ApiSilentError as error:  # what was seen last stays on the screen
                silent = silent or f"As it was at {_clock(datetime.now(timezone.utc))}. {error}"


def _print(jobs: Jobs, *, as_json: bool) -> int:
    if as_json:
        data: dict[str, Any] = asdict(jobs)
        sys.stdout.write(f"{json.dumps(data, indent=2, default=str)}\n")
    else:
        console = Console(highlight=False)
        console.print(_table(jobs, width=console.width))
        for trouble in jobs.troubles:
            console.print(Text(visible(trouble)), soft_wrap=True)
    return 1 if jobs.troubles else 0


def _table(jobs: Jobs, silent: str = "", *, width: int) -> Table:
    """The rows, and below them how many there are, or why there are no newer ones. No id of a job is broken."""
    caption = Text(visible(silent) or f"{len(jobs.rows)} active flow runs")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=caption)
    longest = max((len(row.job) for row in jobs.rows), default=0)
    if width < _BESIDE_ID + longest:
        return _narrow_table(table, jobs, max(longest, _NARROWEST))
    for title in _TITLES:
        table.add_column(title, overflow="fold", no_wrap=title == "job")
    for row in jobs.rows:
        cells = (
            row.flow_run,
            row.flow_run_state,
            _age(row.since),
            row.job,
            row.state,
            row.reason,
            _clock(row.answered),
        )
        table.add_row(*(Text(visible(cell)) for cell in cells))
    return table


def _narrow_table(table: Table, jobs: Jobs, width: int) -> Table:
    """The rows in two columns: the flow run, and its job below its id."""
    table.add_column("flow run", overflow="fold")
    table.add_column("job", overflow="fold", width=width)
    for row in jobs.rows:
        run = f"{row.flow_run}\n{row.flow_run_state} {_age(row.since)}"
        job = [row.job, ": ".join(filter(None, [row.state, row.reason])), f"answered {_clock(row.answered)}"]
        table.add_row(Text(visible(run)), Text(visible("\n".join(filter(None, job)))))
    return table


def _age(since: datetime | None) -> str:
    """How long ago something was, in its two largest units."""
    if since is None:
        return ""
    seconds = max(int((datetime.now(timezone.utc) - since).total_seconds()), 0)
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}m" if hours else f"{minutes}m {seconds % 60}s"


def _clock(moment: datetime | None) -> str:
    return "no" if moment is None else f"{moment.astimezone():%H:%M:%S}"
