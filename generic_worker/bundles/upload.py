"""`python -m generic_worker.bundles.upload --directory DIR --key KEY FILE`: stores a flow for the job that will run it.

Prefect calls it where the flow is called. It needs no Prefect itself, and no network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from generic_worker.bundles.directory import upload
from generic_worker.errors import BundleError


def main() -> None:
    """Put a bundle into the directory."""
    parser = argparse.ArgumentParser(description="Put a flow's bundle into a shared directory.")
    parser.add_argument("--directory", required=True, help="the directory; it is made if it is not there")
    parser.add_argument("--key", required=True, help="the name of the bundle")
    parser.add_argument("file", type=Path, help="the bundle")
    arguments = parser.parse_args()
    try:
        upload(arguments.directory, arguments.key, arguments.file)
    except BundleError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
