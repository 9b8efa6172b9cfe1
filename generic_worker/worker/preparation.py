"""What is looked at before a flow is sent without a deployment: whether it and its work pool are fit for each other.

Whatever is wrong is told where the flow is called, before anything is stored or submitted.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from prefect.flows import InfrastructureBoundFlow
from prefect.logging import get_logger
from prefect.workers.base import BaseWorker
from typing_extensions import ParamSpec

from generic_worker import bundles
from generic_worker.bundles.directory import discard, left_behind
from generic_worker.errors import PoolError, VariableError
from generic_worker.library.schemas import takes
from generic_worker.library.template import no_such_variable, refuse_unsuitable
from generic_worker.worker.configuration import GenericWorkerJobConfiguration
from generic_worker.worker.queries import runs_by_id

if TYPE_CHECKING:
    from prefect.bundles import BundleLauncherOverride
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import WorkPool

P = ParamSpec("P")
R = TypeVar("R")

_logger = get_logger("generic_worker")

_PYTHON = "python"
"""The Python of a job: the first of that name on its PATH."""
_COMMAND_RE = re.compile(r"{{\s*command\s*}}")


def no_such_pool(name: str) -> PoolError:
    """What is said of a work pool that is not there. None is made of a misspelt name."""
    return PoolError(
        f"There is no work pool {name!r}. Make it with: generic-worker pool apply {name} RECIPE --storage DIRECTORY"
    )


async def prepared(
    flow: InfrastructureBoundFlow[P, R], pool: WorkPool, client: PrefectClient
) -> InfrastructureBoundFlow[P, R]:
    """A flow as it is sent to a work pool: with the Pythons that store and execute it, if nobody has chosen others.

    What earlier flows have left in the shared directory is tidied up by the way.

    Raises:
        PoolError: The pool is of another type, or has no storage for flows.
        VariableError: A job variable is not what the pool's recipe wants, in the words of `generic-worker render`.
        RecipeError: The pool's recipe is wrong.
    """
    if pool.type != "generic":
        raise PoolError(
            f"The work pool {pool.name!r} is of type {pool.type!r}, and @generic wants one of type 'generic'."
        )
    storage = pool.storage_configuration
    if storage.bundle_upload_step is None or storage.bundle_execution_step is None:
        raise PoolError(
            f"The work pool {pool.name!r} has no storage for flows that are sent without a deployment. "
            f"Give it a shared directory: generic-worker pool apply {pool.name} RECIPE --storage DIRECTORY"
        )
    template = pool.base_job_template
    if not _COMMAND_RE.search(str(template["job_configuration"].get("command"))):
        raise PoolError(
            f"The work pool {pool.name!r} fixes the command of its jobs: they cannot run flows without a deployment."
        )
    await _check_variables(template, flow.job_variables, client)
    upload, execution = storage.bundle_upload_step, storage.bundle_execution_step
    sent: InfrastructureBoundFlow[P, R] = InfrastructureBoundFlow.__new__(InfrastructureBoundFlow)
    vars(sent).update(vars(flow), worker_cls=BaseWorker)  # it is pickled, and its worker is of no use in the job
    if bundles.UPLOAD not in upload or bundles.EXECUTE not in execution:
        return sent  # other storage installs what it needs, with Prefect's own launcher
    await _tidy(upload[bundles.UPLOAD]["directory"], client)
    chosen: BundleLauncherOverride = {**flow.launcher} if flow.launcher else {}
    chosen.setdefault("upload", upload[bundles.UPLOAD].get("launcher") or [sys.executable or _PYTHON])
    chosen.setdefault("execution", execution[bundles.EXECUTE].get("launcher") or [_PYTHON])
    sent.launcher = chosen
    return sent


async def _check_variables(template: dict[str, Any], given: dict[str, Any], client: PrefectClient) -> None:
    """Refuse job variables as `render --set` does; and beyond that, what the pool's owner has narrowed or fixed."""
    configuration = await GenericWorkerJobConfiguration.from_template_and_values(template, given, client=client)
    recipe, form = configuration.loaded_recipe, template["variables"]
    for name, value in given.items():
        schema = form["properties"].get(name)
        if schema is not None:
            if "allOf" not in schema and "{{" not in str(value):  # neither a block nor what Prefect puts in its place
                refuse_unsuitable(recipe, name, value, schema)
        elif name in recipe.variables:
            raise VariableError(f"{recipe.name}: the work pool fixes the variable {name}. Leave it out.")
        elif not takes(form, name):
            raise no_such_variable(recipe, name)


async def _tidy(directory: str, client: PrefectClient) -> None:
    """Remove the bundles of one's own flow runs that have ended, as far as that is known."""
    try:
        left = await asyncio.to_thread(left_behind, directory)
        runs = await runs_by_id(client, [bundle.flow_run_id for bundle in left if bundle.flow_run_id])
        ended = {run.id: run.state is not None and run.state.is_final() for run in runs}
        await asyncio.to_thread(discard, left, ended)
    except Exception as error:  # noqa: BLE001 - it is no reason not to run the flow
        _logger.debug("The directory %s could not be tidied up: %s", directory, error)
