"""`@generic`: a flow that runs as a job of a work pool whenever it is called, without a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import prefect
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, InfrastructureBoundFlow, bind_flow_to_infrastructure
from prefect.utilities.asyncutils import run_coro_as_sync
from typing_extensions import ParamSpec

from generic_worker.worker.background import SharedWorker
from generic_worker.worker.preparation import no_such_pool, prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from prefect.bundles import BundleLauncher
    from prefect.futures import PrefectFlowRunFuture
    from prefect.workers.base import BaseWorker

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = ("job_variables", "launcher", "include_files", "include_files_base_dir")


def generic(
    work_pool: str,
    include_files: Sequence[str] | None = None,
    launcher: BundleLauncher | None = None,
    *,
    include_files_base_dir: Path | str | None = None,
    **job_variables: Any,  # noqa: ANN401 - what the pool's recipe has
) -> Callable[[Flow[P, R]], InfrastructureBoundFlow[P, R]]:
    """Run a flow as a job of a work pool. It takes what the decorators of Prefect's own workers take.

    Calling the flow waits for its result. `submit()` returns a future once the job is submitted, and this process
    follows the job. `submit_to_work_pool()` returns a future and leaves the submission to the pool's worker.

    Args:
        work_pool: The name of a pool of type `generic` that has storage: `generic-worker pool apply NAME RECIPE
            --storage DIRECTORY` makes one.
        include_files: Files that the flow wants beside it: paths or patterns, relative to its own file. It then runs
            in a directory of its own with those files.
        launcher: The Pythons that store and execute the flow, such as `{"execution": ["/opt/env/bin/python"]}`.
            Without, and with a shared directory: this process's, and `python` on the job's PATH.
        include_files_base_dir: What `include_files` are relative to, if not to the flow's own file.
        **job_variables: Values of the pool's variables, such as `partition="long"`, or `env={"NAME": "value"}`.

    Raises:
        TypeError: What is decorated is no flow, or a file is no text.
        ValueError: A file is an empty text, or the launcher is none.
    """
    options: dict[str, Any] = {"job_variables": job_variables, "launcher": launcher}
    options["include_files"] = _checked(include_files)
    if include_files_base_dir is not None:
        options["include_files_base_dir"] = include_files_base_dir

    def decorator(flow: Flow[P, R]) -> InfrastructureBoundFlow[P, R]:
        if not isinstance(flow, Flow):
            raise TypeError(f"@generic is for flows, and {flow!r} is none. Write @flow below it.")
        return _SentFlow.bind(flow, work_pool, options)

    return decorator


class _SentFlow(InfrastructureBoundFlow[P, R]):
    """A flow bound to a work pool, which is also looked at before the flow is left to the pool's worker."""

    @classmethod
    def bind(cls, flow: Flow[P, R], work_pool: str, options: dict[str, Any]) -> _SentFlow[P, R]:
        """Bind a flow to a work pool, as Prefect does."""
        worker = cast("type[BaseWorker[Any, Any, Any]]", SharedWorker)
        try:
            return cls._like(bind_flow_to_infrastructure(flow, work_pool, worker, **options))
        except TypeError as error:
            if "include_files_base_dir" in str(error):
                raise TypeError(f"Prefect {prefect.__version__} has no include_files_base_dir yet.") from None
            raise

    @classmethod
    def _like(cls, flow: InfrastructureBoundFlow[P, R]) -> _SentFlow[P, R]:
        own = cls.__new__(cls)
        vars(own).update(vars(flow))
        return own

    def with_options(self, **options: Any) -> _SentFlow[P, R]:  # noqa: ANN401 - they are Prefect's
        """The same flow with other options."""
        return self._like(super().with_options(**options))

    def __reduce__(self) -> tuple[Any, ...]:
        """As a flow and what it is bound to. A flow that calls this one is pickled with it, but not with its worker."""
        options = {name: getattr(self, name) for name in _OPTIONS if getattr(self, name, None) is not None}
        own = {"work_pool", "worker_cls", *_OPTIONS}
        flow: Flow[P, R] = Flow.__new__(Flow)
        vars(flow).update({name: value for name, value in vars(self).items() if name not in own})
        return _bind, (flow, self.work_pool, options)

    def submit_to_work_pool(self, *args: P.args, **kwargs: P.kwargs) -> PrefectFlowRunFuture[R]:
        """Make a flow run for the pool's worker.

        Raises:
            GenericWorkerError: The pool or a job variable is wrong. Nothing was made.
        """
        flow = cast("InfrastructureBoundFlow[P, R]", run_coro_as_sync(self._prepared()))
        return InfrastructureBoundFlow.submit_to_work_pool(flow, *args, **kwargs)

    async def _prepared(self) -> InfrastructureBoundFlow[P, R]:
        async with get_client() as client:
            try:
                pool = await client.read_work_pool(self.work_pool)
            except ObjectNotFound:
                raise no_such_pool(self.work_pool) from None
            return await prepared(self, pool, client)


def _bind(flow: Flow[P, R], work_pool: str, options: dict[str, Any]) -> Flow[P, R]:
    """Make a pickled flow what it was.

    It needs nothing of its module: where this package is installed in place, Prefect pickles its code, not its name.
    """
    from generic_worker.worker.decorator import _SentFlow  # noqa: PLC0415

    return _SentFlow.bind(flow, work_pool, options)


def _checked(include_files: Sequence[str] | None) -> list[str] | None:
    for number, name in enumerate(include_files or []):
        if not isinstance(name, str):
            raise TypeError(f"include_files[{number}] is {name!r}. Write a path or a pattern as text.")
        if not name.strip():
            raise ValueError(f"include_files[{number}] is empty. Write a path or a pattern.")
    return None if include_files is None else list(include_files)
