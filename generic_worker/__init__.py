"""A Prefect worker for any infrastructure that has a command line.

What is listed in `__all__` is for everybody; all else may change with any version. Each name is loaded when it is first
asked for: some need Prefect, which takes a second to load, and `generic-worker check` must not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generic_worker.errors import (
        BundleError,
        CommandError,
        CommandNotFound,
        GenericWorkerError,
        OutputError,
        PoolError,
        Problem,
        RecipeError,
        SubmitError,
        VariableError,
    )
    from generic_worker.library.loading import load as load_recipe
    from generic_worker.library.template import base_job_template
    from generic_worker.worker.decorator import generic
    from generic_worker.worker.worker import GenericWorker

__version__ = "0.1.0"

_PLACES = {
    "GenericWorker": "worker.worker",
    "base_job_template": "library.template",
    "generic": "worker.decorator",
    "load_recipe": "library.loading:load",
}
"""Where the names are, below this package; the others are errors."""

__all__ = [
    "BundleError",
    "CommandError",
    "CommandNotFound",
    "GenericWorker",
    "GenericWorkerError",
    "OutputError",
    "PoolError",
    "Problem",
    "RecipeError",
    "SubmitError",
    "VariableError",
    "base_job_template",
    "generic",
    "load_recipe",
]


def __getattr__(name: str) -> object:
    """Load a public name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, inside = _PLACES.get(name, "errors").partition(":")
    found = getattr(import_module(f"{__name__}.{module}"), inside or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names, also before they are loaded."""
    return sorted([*globals(), *__all__])
