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


async def shared_directory(client: PrefectClient, pool: str, directory: str) -> WorkPoolStorageConfiguration:
    """The storage of a pool that is a directory; saves the block for the results, as Prefect's own storages do.

    Args:
        client: The API's client.
        pool: The pool's name.
        directory: An absolute path, or one that begins with `~`: then it is below the home of whoever sends a flow.

    Raises:
        PoolError: The directory is no such path.
    """
    if not directory.startswith(("/", "~")):
        raise PoolError(f"--storage {directory}: write a path that begins with a slash or ~, the same on all hosts.")
    results = LocalFileSystem(basepath=str(PurePath(directory) / "results"))
    block = await results.asave(_block_name(pool), overwrite=True, client=client)
    return WorkPoolStorageConfiguration(
        bundle_upload_step={UPLOAD: {"directory": directory}},
        bundle_execution_step={EXECUTE: {"directory": directory}},
        default_result_storage_block_id=block,
    )


def _block_name(pool: str) -> str:
    """What Prefect calls it too; pools whose names differ in what a block's may not have get blocks of their own."""
    plain = slugify(pool)
    own = "" if plain == pool else f"-{hashlib.sha256(pool.encode()).hexdigest()[:8]}"
    return f"default-{plain}{own}-result-storage"
