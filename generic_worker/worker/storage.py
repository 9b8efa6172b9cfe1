"""A shared directory as a work pool's storage: for flows that are sent without a deployment, and for their results."""

from __future__ import annotations

import hashlib
from pathlib import PurePath
from typing import TYPE_CHECKING

from prefect.client.schemas.objects import WorkPoolStorageConfiguration
from prefect.filesystems import LocalFileSystem
from prefect.utilities.slugify import slugify

from generic_worker.bundles import EXECUTE, UPLOAD
from generic_worker.errors import PoolError

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import WorkPool


def check_directory(directory: str) -> None:
    """Refuse what is no directory for all hosts.

    Raises:
        PoolError: It is a relative path.
    """
    if not directory.startswith(("/", "~")):
        raise PoolError(f"--storage {directory}: write a path that begins with a slash or ~, the same on all hosts.")


async def shared_directory(client: PrefectClient, pool: str, directory: str) -> WorkPoolStorageConfiguration:
    """The storage of a pool that is a directory; saves the block for the results, as Prefect's own storages do.

    Args:
        client: The API's client.
        pool: The pool's name.
        directory: An absolute path, or one that begins with `~`: then it is below the home of whoever sends a flow.
    """
    results = LocalFileSystem(basepath=str(PurePath(directory) / "results"))
    block = await results.asave(_block_name(pool), overwrite=True, client=client)
    return WorkPoolStorageConfiguration(
        bundle_upload_step={UPLOAD: {"directory": directory}},
        bundle_execution_step={EXECUTE: {"directory": directory}},
        default_result_storage_block_id=block,
    )


def directory_of(pool: WorkPool) -> str | None:
    """The directory that is a pool's storage; None if it has another storage, or none."""
    upload, execution = pool.storage_configuration.bundle_upload_step, pool.storage_configuration.bundle_execution_step
    found = {(upload or {}).get(UPLOAD, {}).get("directory"), (execution or {}).get(EXECUTE, {}).get("directory")}
    return found.pop() if len(found) == 1 else None


def storage_text(pool: WorkPool) -> str:
    """Where a pool's flows without a deployment go, for people; empty if they cannot go anywhere."""
    step = pool.storage_configuration.bundle_upload_step
    return directory_of(pool) or ", ".join(step or {})


def _block_name(pool: str) -> str:
    """What Prefect calls it too; pools whose names differ in what a block's may not have get blocks of their own."""
    plain = slugify(pool)
    own = "" if plain == pool else f"-{hashlib.sha256(pool.encode()).hexdigest()[:8]}"
    return f"default-{plain}{own}-result-storage"
