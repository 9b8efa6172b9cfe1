"""`python -m generic_worker.bundles.execute --directory DIR --key KEY`: runs a flow that came without a deployment.

It is the command of the job, where a deployment's is `prefect flow-run execute`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING

from generic_worker.bundles.directory import download, keep, remove
from generic_worker.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun

    from generic_worker.bundles.directory import Bundle

_PLACE = "files"
"""The folder in a bundle's own in which a flow runs that has brought files with it."""


def main() -> None:
    """Run the flow of a bundle, and remove the bundle when its flow run has ended."""
    parser = argparse.ArgumentParser(description="Run the flow of a bundle in a shared directory.")
    parser.add_argument("--directory", required=True, help="the directory")
    parser.add_argument("--key", required=True, help="the name of the bundle")
    arguments = parser.parse_args()
    try:
        execute(download(arguments.directory, arguments.key))
    except BundleError as error:
        sys.exit(str(error))


def execute(bundle: Bundle) -> None:
    """Run a bundle's flow in a process of its own, unless its flow run has ended already.

    The bundle stays while the flow run may want it again: when that is suspended, or waits to be tried once more.
    """
    # Prefect is loaded when there is something to do with it
    from prefect.bundles.execute import execute_bundle  # noqa: PLC0415
    from prefect.logging.loggers import flow_run_logger  # noqa: PLC0415
    from prefect.utilities.asyncutils import run_coro_as_sync  # noqa: PLC0415

    flow_run = _read(bundle.flow_run_id)
    if flow_run is None or _has_ended(flow_run):
        remove(bundle)  # it was cancelled or deleted while its job waited
        return
    unpacked = _unpack(bundle)
    run_coro_as_sync(execute_bundle({**bundle.content, "flow_run": flow_run.model_dump(mode="json")}))
    ended = _read(bundle.flow_run_id)
    if ended is not None and not _has_ended(ended):
        return
    os.chdir(bundle.folder.parent)
    written = _files(bundle) - unpacked
    if written:
        flow_run_logger(flow_run).warning(
            "The flow wrote %d files beside those that came with it. They stay for 30 days in %s",
            len(written),
            bundle.folder / _PLACE,
        )
        keep(bundle)
    else:
        remove(bundle)


def _read(flow_run_id: UUID) -> FlowRun | None:
    """A flow run as it is now; None if it was deleted."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - as above
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        try:
            return client.read_flow_run(flow_run_id)
        except ObjectNotFound:
            return None


def _has_ended(flow_run: FlowRun) -> bool:
    return flow_run.state is not None and flow_run.state.is_final()


def _unpack(bundle: Bundle) -> set[Path]:
    """Put the included files into a new directory, and go there: jobs that start in one place do not share them."""
    if bundle.files is None:
        return set()
    place = bundle.folder / _PLACE
    shutil.rmtree(place, ignore_errors=True)  # of an earlier attempt
    with zipfile.ZipFile(bundle.files) as archive:
        archive.extractall(place)  # nothing gets out of there
        for entry in archive.infolist():
            if mode := entry.external_attr >> 16 & 0o777:
                (place / entry.filename).chmod(mode)
    os.chdir(place)
    sys.path.insert(0, str(place))
    return _files(bundle)


def _files(bundle: Bundle) -> set[Path]:
    return {path for path in (bundle.folder / _PLACE).rglob("*") if path.is_file()}


if __name__ == "__main__":
    main()
