"""Files of a recipe that hold nothing of one job, such as credentials: written once, for all jobs and for `check`.

So a command that names one is the same for all jobs. Nobody else may read them; they go when the process does.
"""

from __future__ import annotations

import atexit
import hashlib
import hmac
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generic_worker.commands.private_files import make_private, write_private
from generic_worker.errors import CommandError
from generic_worker.language.structures import render_document

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from generic_worker.language.recipe import Recipe

_PREFIX = ".shared-"
_SALT = secrets.token_bytes(16)
"""A path must not tell what is in the file: command lines are for every user of the host to see."""


def shared_paths(recipe: Recipe, values: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """The paths of a recipe's shared files, as `file_<name>`. Files with the same content are one.

    Args:
        recipe: The recipe.
        values: The variables' values, and those of this host.
        directory: Where the private directories of its jobs are.

    Raises:
        VariableError: The values do not suit an expression.
    """
    own = directory / f"{_PREFIX}{os.getpid()}"
    contents = {name: render_document(recipe.files[name], values) for name in sorted(recipe.shared_files)}
    digests = {name: hmac.new(_SALT, text.encode(), hashlib.sha256).hexdigest() for name, text in contents.items()}
    return {f"file_{name}": str(own / digest[:16] / name) for name, digest in digests.items()}


def write_shared(recipe: Recipe, names: Collection[str], values: Mapping[str, Any]) -> None:
    """Write those shared files that a command names, unless they are there.

    Args:
        recipe: The recipe.
        names: The names that the command uses.
        values: What it is rendered with.

    Raises:
        CommandError: They cannot be written.
    """
    for name in recipe.shared_files:
        if f"file_{name}" in names:
            path = Path(values[f"file_{name}"])
            try:
                if not path.exists():
                    _make_shared_directory(path.parent)
                    new = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
                    write_private(new, render_document(recipe.files[name], values))
                    new.replace(path)
            except OSError as error:
                raise CommandError(f"the file {path} cannot be written: {error.strerror}.") from error


def _make_shared_directory(directory: Path) -> None:
    own = directory.parent
    if not own.exists():
        _remove_orphans(own.parent)
        make_private(own)
        atexit.register(shutil.rmtree, own, ignore_errors=True)
    make_private(directory, 5)


def _remove_orphans(directory: Path) -> None:
    """Remove what processes left that were killed."""
    for left in directory.glob(f"{_PREFIX}*"):
        try:
            os.kill(int(left.name.removeprefix(_PREFIX)), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except (ValueError, PermissionError):
            continue
