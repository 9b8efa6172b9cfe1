"""A job's private directory on the worker's host, with its own files. Nobody else may read them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generic_worker.commands.masking import masked_errors
from generic_worker.commands.private_files import make_private, write_private
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
            write_private(directory / name, content)
    except OSError as error:
        raise CommandError(f"the directory {directory} cannot be written: {error.strerror}.") from error


def remove_directory(values: Mapping[str, Any]) -> None:
    """Remove a job's directory, if it is there."""
    shutil.rmtree(values["job_dir"], ignore_errors=True)
