"""A job's private directory on the worker's host, with its own files. Nobody else may read them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generic_worker.commands.masking import masked_errors
from generic_worker.commands.rendering import render_files
from generic_worker.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generic_worker.language.recipe import Recipe


def prepare_directory(recipe: Recipe, values: Mapping[str, Any]) -> None:
    """Make a job's directory and its files.

    Raises:
        CommandError: It cannot be written.
        VariableError: The values do not suit an expression of a file.
    """
    directory = Path(values["job_dir"])
    try:
        make_private(directory)
        with masked_errors(values):
            contents = render_files(recipe, values)
        for name, content in contents.items():
            if name in recipe.shared_files:
                continue
            _write(directory / name, content)
    except OSError as error:
        raise CommandError(f"the directory {directory} cannot be written: {error.strerror}.") from error


def make_private(directory: Path, levels: int = 4) -> None:
    """Make a directory that nobody else may enter, as little as those in which it is.

    Args:
        directory: The directory.
        levels: How many are private: it, and so many less one above it. Further ones are made as they usually are.

    Raises:
        CommandError: One of them is there already and belongs to somebody else, who could look into it.
        OSError: One cannot be made.
    """
    private = [directory, *directory.parents][:levels]
    private[-1].parent.mkdir(parents=True, exist_ok=True)
    for level in reversed(private):
        with contextlib.suppress(FileExistsError):
            level.mkdir(mode=0o700)
        found = level.lstat()
        if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
            raise CommandError(f"the directory {level} is not the worker's own: it is a link, or another user's.")
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if found.st_mode & 0o077:
            level.chmod(0o700)


def _write(path: Path, content: str) -> None:
    """Write a new file in the place of one that an earlier try may have left; what a link leads to is left alone."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(content)


def remove_directory(values: Mapping[str, Any]) -> None:
    """Remove a job's directory, if it is there."""
    shutil.rmtree(values["job_dir"], ignore_errors=True)
