"""Work pools on the Prefect API, for `generic-worker pool`: what there is, what would change, and the change itself."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from generic_worker.errors import PoolError
from generic_worker.job import JobReference
from generic_worker.library.pool_changes import Change, changes, concerns_jobs, invalid, variables
from generic_worker.library.pool_template import Template, applied
from generic_worker.library.template import base_job_template
from generic_worker.worker.queries import ACTIVE, runs_of_pool
from generic_worker.worker.readiness import read_readiness
from generic_worker.worker.storage import check_directory, directory_of, shared_directory, storage_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Worker, WorkPool

    from generic_worker.library.loading import Loaded

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a pool's owner wants of it, beside its recipe.

    Attributes:
        sets: Defaults for the form, by variable.
        fixes: Values that deployments cannot change, by variable.
        storage: A directory for flows that are sent without a deployment; None to leave the storage as it is.
    """

    sets: Mapping[str, Any] = field(default_factory=dict)
    fixes: Mapping[str, Any] = field(default_factory=dict)
    storage: str | None = None


@dataclass(slots=True)
class Plan:
    """What would become of a pool.

    Attributes:
        pool: Its name.
        recipe: The name of the recipe that is applied.
        before: Its base job template; None if it is not there yet, empty if it was made without one.
        template: What that would be.
        changes: What is different in that, and what stays because the owner has chosen it.
        deployments: The deployments that would suffer, by name, and from what.
        jobs: How many active jobs would be asked about with another recipe.
        lost_jobs: How many of these could not be, because they belong to a recipe of another name.
        storage: The directory that would be its storage; None if the storage stays as it is.
    """

    pool: str
    recipe: str
    before: Template | None
    template: Template
    changes: list[Change] = field(default_factory=list)
    deployments: dict[str, list[str]] = field(default_factory=dict)
    jobs: int = 0
    lost_jobs: int = 0
    storage: str | None = None

    @property
    def exists(self) -> bool:
        """Whether the pool is there already."""
        return self.before is not None

    @property
    def differs(self) -> bool:
        """Whether there is anything to do."""
        return self.storage is not None or self.writes_template

    @property
    def writes_template(self) -> bool:
        """Whether the pool is to be made, or its template to be changed."""
        return not self.before or any(not change.is_kept for change in self.changes)

    @property
    def breaks(self) -> bool:
        """Whether somebody has to agree to it first."""
        return bool(self.deployments or self.jobs or any(change.breaks for change in self.changes))


@contextlib.asynccontextmanager
async def api() -> AsyncIterator[PrefectClient]:
    """The Prefect API.

    Raises:
        PoolError: It cannot be reached, or has refused what was asked of it.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise PoolError("PREFECT_API_URL is not set: set it to the address of your Prefect server's API.")
    try:
        async with get_client() as client:
            yield client
    except PrefectHTTPStatusError as error:
        raise PoolError(f"The Prefect API at {url} has refused this: {error}") from None
    except httpx.HTTPError as error:
        raise PoolError(f"The Prefect API at {url} cannot be reached: {error}.") from None


async def read_pool(client: PrefectClient, name: str) -> WorkPool | None:
    """A work pool of this type; None if there is no pool of that name.

    Raises:
        PoolError: It is of another type.
    """
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return None
    if pool.type != "generic":
        raise PoolError(
            f"The work pool {name!r} is of type {pool.type!r}, not 'generic'. A pool's type cannot be changed."
        )
    return pool


async def plan(name: str, loaded: Loaded, wishes: Wishes) -> Plan:
    """What applying a recipe to a pool would do. It only reads.

    Raises:
        VariableError: What is wished for does not suit the recipe.
        PoolError: The pool is of another type, its owner's entries do not fit the recipe, or the API does not answer.
    """
    async with api() as client:
        found = await read_pool(client, name)
        recipe, old = loaded.recipe.name, found.base_job_template if found is not None else None
        made = Plan(name, recipe, old, applied(old or None, loaded, wishes.sets, wishes.fixes))
        if wishes.storage is not None:
            check_directory(wishes.storage)
            made.storage = None if found and directory_of(found) == wishes.storage else wishes.storage
        if not old:  # it is made now, or was made over the API, without a template
            made.changes = changes(base_job_template(loaded), made.template, loaded, wishes.sets)
            return made
        made.changes = changes(old, made.template, loaded, wishes.sets)
        made.deployments = await _suffering(client, name, old, made.template)
        jobs = await _jobs(client, name) if concerns_jobs(old, loaded) else []
        made.jobs, made.lost_jobs = len(jobs), sum(job.recipe != recipe for job in jobs)
        return made


async def carry_out(plan: Plan) -> None:
    """Make a pool, or change it, as was planned.

    Raises:
        PoolError: The API does not answer, or refuses it; or somebody else has changed the pool meanwhile.
    """
    async with api() as client:
        found = await read_pool(client, plan.pool)
        if (found.base_job_template if found is not None else None) != plan.before:
            raise PoolError(f"The work pool {plan.pool!r} was changed by somebody else meanwhile. Look again.")
        if not plan.exists:
            pool = WorkPoolCreate(name=plan.pool, type="generic", base_job_template=plan.template)
            await client.create_work_pool(pool)
        elif plan.writes_template:
            await client.update_work_pool(plan.pool, WorkPoolUpdate(base_job_template=plan.template))
        if plan.storage is not None:
            storage = await shared_directory(client, plan.pool, plan.storage)
            await client.update_work_pool(plan.pool, WorkPoolUpdate(storage_configuration=storage))


async def recipe_of(name: str) -> dict[str, Any] | str:
    """The recipe that stands in a pool's template, as data or by its name.

    Raises:
        PoolError: There is no such pool, it has no recipe of its own, or the API does not answer.
    """
    async with api() as client:
        found = await read_pool(client, name)
    if found is None:
        raise PoolError(f"There is no work pool {name!r}.")
    recipe: dict[str, Any] | str | None = found.base_job_template.get("job_configuration", {}).get("recipe")
    if not recipe:
        raise PoolError(f"The work pool {name!r} has no recipe.")
    return recipe


async def describe(name: str) -> dict[str, Any]:
    """All that is known of a pool, as plain data: its recipe, variables, storage, workers, and what these can do.

    Raises:
        PoolError: There is no such pool, or the API does not answer.
        RecipeError: Its recipe is wrong.
    """
    async with api() as client:
        found = await read_pool(client, name)
        if found is None:
            raise PoolError(f"There is no work pool {name!r}.")
        template = found.base_job_template
        written = template.get("job_configuration", {}).get("recipe")
        workers = [await _worker(client, name, one, written) for one in await client.read_workers_for_work_pool(name)]
    return {
        "pool": name,
        "recipe": written.get("name") if isinstance(written, dict) else written,
        "by_name": isinstance(written, str),
        "paused": found.is_paused,
        "concurrency_limit": found.concurrency_limit,
        "variables": variables(template) if template else [],
        "storage": storage_text(found),
        "workers": workers,
    }


async def _worker(client: PrefectClient, pool: str, worker: Worker, recipe: object) -> dict[str, Any]:
    """A worker, and what it has said of the recipe: nothing (`problems` is None), or what keeps it from running it."""
    problems = await read_readiness(client, pool, worker.name, recipe)
    seen = worker.last_heartbeat_time.isoformat() if worker.last_heartbeat_time else None
    return {"name": worker.name, "status": worker.status.value, "last_seen": seen, "problems": problems}


async def _suffering(client: PrefectClient, pool: str, old: Template, new: Template) -> dict[str, list[str]]:
    """The deployments whose runs would be refused with another template, or would not be as they are; and why."""
    wanted = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    found: dict[str, list[str]] = {}
    for offset in itertools.count(0, _PAGE):
        page = await client.read_deployments(work_pool_filter=wanted, limit=_PAGE, offset=offset)
        for deployment in page:
            if texts := invalid(old, new, deployment.job_variables or {}):
                flow = await client.read_flow(deployment.flow_id)
                found[f"{flow.name}/{deployment.name}"] = texts
        if len(page) < _PAGE:
            return found
    raise AssertionError("unreachable: a page is short at last")


async def _jobs(client: PrefectClient, pool: str) -> list[JobReference]:
    """The jobs of a pool's active flow runs."""
    runs = await runs_of_pool(client, pool, ACTIVE)
    found = (JobReference.parse(run.infrastructure_pid or "") for run in runs)
    return [job for job in found if job is not None]
