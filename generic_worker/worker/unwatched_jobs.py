"""Ending a job that this worker does not watch, as Prefect asks for when nobody has seen to a cancelled run in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound

from generic_worker.errors import VariableError
from generic_worker.job import JobReference
from generic_worker.jobs.cancellation import end_job

if TYPE_CHECKING:
    import logging

    from generic_worker.job import Job, JobStatus
    from generic_worker.jobs.driver import Driver
    from generic_worker.jobs.watcher import Watcher
    from generic_worker.jobs.watches import Watch
    from generic_worker.worker.configuration import GenericWorkerJobConfiguration

_PATIENCE = 20.0
"""Seconds to wait for an infrastructure to answer; then Prefect asks again later."""


async def end_unwatched_job(
    pid: str,
    configuration: GenericWorkerJobConfiguration,
    driver: Driver,
    watcher: Watcher,
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
) -> JobStatus:
    """End a job that is known by its pid only.

    Args:
        pid: The `infrastructure_pid` of its flow run.
        configuration: The flow run's configuration, as it is now.
        driver: The driver of the recipe in it.
        watcher: Watches the job meanwhile.
        logger: Gets the news of it.

    Returns:
        Its last status, as `end_job` does.

    Raises:
        InfrastructureNotFound: It is proven that there is no such job, or that it has ended.
        InfrastructureNotAvailable: The job is not this pool's, lives elsewhere, or nobody can say if it exists.
    """
    job = _job(pid, configuration, driver)
    if not job.id:
        found, trouble = await driver.find([job])
        if trouble:
            raise InfrastructureNotAvailable(f"{pid!r}: the job cannot be looked up: {trouble[job]}")
        if not found:
            raise InfrastructureNotFound(f"{pid!r}: no job has this key.")
    watch = watcher.watch(job, driver, lambda news: logger.info("%s: %s", pid, news))
    try:
        first = await asyncio.wait_for(_first_answer(watcher, watch), _PATIENCE)
        if first is not None:
            raise InfrastructureNotFound(f"{pid!r} has ended already: {first}.")
        return await end_job(watcher, watch, _PATIENCE)
    except asyncio.TimeoutError:
        raise InfrastructureNotAvailable(
            f"{pid!r}: the infrastructure does not say whether the job is there."
        ) from None
    finally:
        watcher.forget(watch)


def _job(pid: str, configuration: GenericWorkerJobConfiguration, driver: Driver) -> Job:
    reference, flow_run = JobReference.parse(pid), configuration.flow_run
    if reference is None or reference.recipe != driver.recipe.name or flow_run is None:
        raise InfrastructureNotAvailable(f"{pid!r} is not a job of this pool's recipe {driver.recipe.name!r}.")
    try:
        job = configuration.job(flow_run, reference)
    except VariableError as error:
        raise InfrastructureNotAvailable(str(error)) from None
    here = driver.scope(job.values)
    if here != job.scope:
        raise InfrastructureNotAvailable(f"{pid!r} lives at {job.scope!r}, and this worker is at {here!r}.")
    return job


async def _first_answer(watcher: Watcher, watch: Watch) -> JobStatus | None:
    """The end of a job that has ended already; None when it is alive."""
    watcher.hurry(watch)
    while not watch.ended.done():
        if watch.status.state.alive:
            return None
        await asyncio.wait({watch.ended}, timeout=0.2)
    return watch.ended.result()
