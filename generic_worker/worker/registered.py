"""The worker type, as Prefect knows it before one is started.

Prefect loads every installed worker type whenever it starts any worker. It finds this module, and nothing else of the
package is loaded for somebody else's worker: no recipe language, and no library that it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from prefect.workers.base import BaseWorker, BaseWorkerResult
from typing_extensions import Self


class WorkerType(BaseWorker[Any, Any, BaseWorkerResult]):
    """What stands for the worker's class in Prefect's registry. To make one of it is to make a `GenericWorker`."""

    type: str = "generic"

    _display_name = "Generic"
    _description = "Runs flow runs on any infrastructure that has a command line, as a recipe in the work pool says."
    _documentation_url = "https://pypi.org/project/prefect-generic-worker/"
    _logo_url = "https://raw.githubusercontent.com/PrefectHQ/prefect/main/docs/images/favicon-dark.svg"

    def __new__(cls, *_: Any, **__: Any) -> Self:  # noqa: ANN401 - whatever Prefect passes
        """The worker itself, which Python then initializes, as it is of a derived class."""
        if cls is not WorkerType:
            return super().__new__(cls)
        return cast("Self", super().__new__(import_module("generic_worker.worker.worker").GenericWorker))

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """The template of a pool that was created without one: the bundled `process` recipe."""
        from generic_worker.library.loading import load  # noqa: PLC0415 - only now is it needed
        from generic_worker.library.template import base_job_template  # noqa: PLC0415 - as above

        return base_job_template(load("process"))
