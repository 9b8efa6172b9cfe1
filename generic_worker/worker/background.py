"""A thread in which a process's worker for a work pool lives: from the first flow that is called until its jobs end.

Flows may be called from anywhere, inside an event loop or not, and submitted without being waited for. What follows
their jobs has to outlive each call, and to be one for all of them, so that one command asks for all their states.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, ClassVar, cast

from prefect.client.orchestration import get_client
from prefect.context import get_settings_context
from prefect.logging import get_logger
from prefect.settings import PREFECT_API_URL

from generic_worker.worker.caller import CallerWorker

if TYPE_CHECKING:
    from prefect.futures import PrefectFlowRunFuture
    from typing_extensions import Self

_LEAVE_WITHIN = 5.0
"""Seconds for which the end of the process waits until its workers have left."""

_logger = get_logger("generic_worker")


class SharedWorker:
    """What a decorated flow takes for its worker: a way to the one of this process, which all calls share.

    Args:
        work_pool_name: The work pool.
    """

    def __init__(self, work_pool_name: str) -> None:
        self._work_pool_name = work_pool_name

    async def __aenter__(self) -> Self:
        """Start the worker if it does not live yet."""
        self._background = Background.enter(self._work_pool_name)
        try:
            await asyncio.wrap_future(self._background.worker)
        except BaseException:
            self._background.leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Need it no longer. It lives while there are jobs to follow."""
        self._background.leave()

    async def submit(self, **call: Any) -> PrefectFlowRunFuture[Any]:  # noqa: ANN401 - what Prefect gives a worker
        """Make a flow run and submit its job, as `CallerWorker.submit` does."""
        return await self._background.submit(**call)


class Background:
    """A worker in a thread of its own.

    Args:
        work_pool_name: The worker's pool.

    Attributes:
        what: What makes it different from others.
        worker: The worker, once it works; or why it does not.
    """

    _living: ClassVar[list[Background]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, work_pool_name: str) -> None:
        self.what = _what(work_pool_name)
        self._work_pool_name = work_pool_name
        self._settings = get_settings_context().model_copy()
        self._users = 0
        self._ended = threading.Event()
        self.worker: Future[CallerWorker] = Future()
        self.worker.set_running_or_notify_cancel()  # so that a call that is interrupted does not cancel it for others
        threading.Thread(target=self._run, name=f"generic worker: {work_pool_name}", daemon=True).start()

    @classmethod
    def enter(cls, work_pool_name: str) -> Background:
        """The worker of this process for a pool. It stays at least until `leave`, and is started if there is none."""
        with cls._lock:
            found = next((one for one in cls._living if one.what == _what(work_pool_name)), None)
            if found is None:
                found = cls(work_pool_name)
                cls._living.append(found)
            found._users += 1
        return found

    def leave(self) -> None:
        """Say that a call has got what it wanted."""
        with self._lock:
            self._users -= 1

    async def submit(self, **call: Any) -> PrefectFlowRunFuture[Any]:  # noqa: ANN401 - what Prefect gives a worker
        """Let the worker submit a flow, with the context of the caller, who need not be in an event loop of its own."""
        submission = self.worker.result().submit(**call)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(submission, self._loop))

    def end(self) -> None:
        """Stop following jobs, so that the pool's worker takes them over without waiting for this one to be missed."""
        if self.worker.done() and not self._ended.is_set():
            with contextlib.suppress(RuntimeError):  # it has ended by itself meanwhile
                self._loop.call_soon_threadsafe(self._life.cancel)
            self._ended.wait(_LEAVE_WITHIN)

    def _run(self) -> None:
        try:
            with self._settings:
                asyncio.run(self._live())
        except asyncio.CancelledError:
            _logger.debug("The worker of this process has left its jobs to the pool's.")
        except BaseException as error:
            if not self.worker.done():
                self.worker.set_exception(error)
            else:
                _logger.exception("The worker of this process has stopped, and leaves its jobs to the pool's.")
        finally:
            self._forget()
            self._ended.set()

    async def _live(self) -> None:
        self._loop, self._life = asyncio.get_running_loop(), cast("asyncio.Task[None]", asyncio.current_task())
        worker = CallerWorker(self._work_pool_name)
        try:
            async with worker:
                self.worker.set_result(worker)
                while not self._is_over(worker):
                    await asyncio.sleep(worker.heartbeat_interval_seconds)
                    await _beat(worker)
        finally:
            await _sign_off(worker, self._work_pool_name)

    def _is_over(self, worker: CallerWorker) -> bool:
        """Whether nobody needs the worker any more. Whoever comes then starts another."""
        with self._lock:
            over = self._users == 0 and worker.is_idle
            if over:
                self._living.remove(self)
        return over

    def _forget(self) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._living.remove(self)


def _what(work_pool_name: str) -> tuple[int, str | None, str]:
    """What makes one worker different from another: a forked process has none of its parent's."""
    return os.getpid(), PREFECT_API_URL.value(), work_pool_name


async def _beat(worker: CallerWorker) -> None:
    """Tell Prefect that the worker is alive, or its jobs would be taken over."""
    try:
        await worker.sync_with_backend()
    except Exception as error:  # noqa: BLE001 - the next time is the remedy
        _logger.debug("The Prefect API does not answer: %s", error)


async def _sign_off(worker: CallerWorker, work_pool_name: str) -> None:
    """Take the worker from the pool's list, so that nobody waits for it."""
    with contextlib.suppress(Exception):
        async with get_client() as client:
            names = {"work_pool_name": work_pool_name, "name": worker.name}
            await client.request("DELETE", "/work_pools/{work_pool_name}/workers/{name}", path_params=names)


@atexit.register
def _end() -> None:
    for background in list(Background._living):  # noqa: SLF001 - of this module
        if background.what[0] == os.getpid():
            background.end()
