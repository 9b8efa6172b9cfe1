"""Directories and files that nobody but the worker's user may look into."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from generic_worker.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path


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


def write_private(path: Path, content: str) -> None:
    """Write a new file in the place of one that an earlier try may have left; what a link leads to is left alone."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(content)
