"""The attempts at flow runs that this worker has, and that it still has them when it acts.

A worker may lose an attempt without noticing: it was stopped, its host slept, its network was down, and another worker
took it for dead. So each step that changes a flow run, or submits its job, begins with a look: the run counts on this
attempt, and the last claim of that is this worker's. What a look has shown holds for `FRESH` seconds, counted from
before the API was asked; after them the step is not made, nor made again, without another look.

Whoever takes an attempt over waits for longer than that before it concludes anything from what the other has not done.
By then all that the other was still about to do is done, and whatever it does next begins with a look.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.states import Cancelled, Crashed, Pending

from generic_worker.errors import AttemptLostError
from generic_worker.worker import flow_runs
from generic_worker.worker.api_calls import FRESH, Moment, only_while
from generic_worker.worker.claims import Claim, read_claims, write_claim
from generic_worker.worker.histories import attempt_of, in_order, is_outdated
from generic_worker.worker.transitions import propose_end, propose_once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

T = TypeVar("T")

SETTLED = FRESH + 10.0
"""Seconds after which nothing is on its way any more of what a worker began before its attempt was taken over."""
_AT_ONCE = 8
"""Ends that are reported at once: as many as Prefect's client keeps connections."""


@dataclass(slots=True, eq=False)
class Attempt:
    """An attempt at a flow run that this worker has, or had.

    Attributes:
        flow_run_id: The flow run.
        id: The attempt, as in `claims`.
        number: That of this worker's claim; -1 before there is one.
        state: The flow run's state when it was last looked at.
        looked: When that was.
        taken: When this worker got it.
        lost: Whether it was found to be another worker's, or over: the run was rescheduled, or deleted.
    """

    flow_run_id: UUID
    id: UUID
    number: int
    state: State
    looked: Moment
    taken: Moment = field(default_factory=Moment)
    lost: bool = False

    def is_fresh(self) -> bool:
        """Whether what the last look has shown may still be acted upon."""
        return not self.lost and self.looked.age < FRESH


class Attempts:
    """What this worker does to the attempts that it has.

    Args:
        worker: Its name.
        client: Gives the API's client.
    """

    def __init__(self, worker: str, client: Callable[[], PrefectClient]) -> None:
        self.me = Claim(worker, uuid4().hex[:12])
        self._client = client
        self._concluding = asyncio.Semaphore(_AT_ONCE)

    @property
    def client(self) -> PrefectClient:
        """The API's client."""
        return self._client()

    async def begin(self, flow_run: FlowRun, read: Moment) -> Attempt | None:
        """Pick a scheduled flow run up: make it Pending, and write the attempt's first claim.

        Args:
            flow_run: The flow run, as it was read.
            read: When that was.

        Returns:
            The attempt; None if another worker has it, or the run is not what it was.

        Raises:
            Abort: The API refuses: another worker has made it Pending, as a rule.
        """
        with only_while(lambda: read.age < FRESH):
            state = await propose_once(self.client, flow_run.id, Pending())
        if not state.is_pending():
            return None
        attempt = Attempt(flow_run.id, state.id, -1, state, read)
        if not await flow_runs.patiently(lambda: flow_runs.was_scheduled(self.client, flow_run.id, state)):
            return None
        try:
            return attempt if await self._write(attempt, 0) else None
        except AttemptLostError:
            return None

    async def own(self, flow_run_id: UUID) -> Attempt | None:
        """The attempt at a flow run that this worker has made itself, as Pending; None if it was deleted already."""
        attempt, _ = await self.present(flow_run_id)
        return attempt if attempt and await self.take_over(attempt, lambda claim: claim is None) else None

    async def present(self, flow_run_id: UUID) -> tuple[Attempt | None, list[State]]:
        """The attempt that a flow run is in, whosever it is, without a number; and all the run's states, in order."""
        looked = Moment()
        states = await flow_runs.patiently(lambda: self.client.read_flow_run_states(flow_run_id))
        flow_run = await flow_runs.read(self.client, flow_run_id)
        if flow_run is None:
            return None, []
        history = in_order(states, flow_run.state)
        id_ = attempt_of(history)
        return Attempt(flow_run_id, id_, -1, history[-1], looked) if id_ else None, history

    async def take_over(self, attempt: Attempt, may_have: Callable[[Claim | None], bool]) -> bool:
        """Take an attempt over from a worker that is gone; it has a number then. Returns whether it is this worker's.

        Args:
            attempt: The attempt.
            may_have: Says of the claim that stands last, if any, whether this worker may write the next.
        """
        client, run, id_ = self.client, attempt.flow_run_id, attempt.id
        there = await flow_runs.patiently(lambda: read_claims(client, run, id_))
        if there and there[-1].process == self.me.process:
            attempt.number = len(there) - 1
            return True
        if not may_have(there[-1] if there else None):
            return False
        won = await flow_runs.patiently(lambda: write_claim(client, run, id_, len(there), self.me))
        attempt.number = len(there) if won else -1
        return won

    async def _write(self, attempt: Attempt, number: int) -> bool:
        """Write a claim of an attempt for as long as it is as it was seen."""
        write = partial(write_claim, self.client, attempt.flow_run_id, attempt.id, number, self.me)
        won = await self.step(attempt, write)
        attempt.number = number if won else attempt.number
        return won

    async def look(self, attempt: Attempt, *, anew: bool = False) -> State:
        """The state of a flow run whose attempt is this worker's.

        Args:
            attempt: The attempt. What the last look has shown is enough while it is fresh.
            anew: Whether it is not.

        Raises:
            AttemptLostError: It is another worker's, or over.
        """
        if anew or not attempt.is_fresh():
            await flow_runs.patiently(lambda: self._look(attempt))
        return attempt.state

    async def _look(self, attempt: Attempt) -> None:
        looked, client, run = Moment(), self.client, attempt.flow_run_id
        try:
            flow_run, there = await asyncio.gather(client.read_flow_run(run), read_claims(client, run, attempt.id))
        except ObjectNotFound:
            attempt.lost = True
            raise AttemptLostError("the flow run was deleted before its job was submitted.") from None
        attempt.lost = not (self._is_last(attempt, there) and await self._is_in(flow_run, attempt))
        if attempt.lost or flow_run.state is None:
            raise AttemptLostError("another worker has the flow run by now, or it was rescheduled.")
        attempt.state, attempt.looked = flow_run.state, looked

    async def _is_in(self, flow_run: FlowRun, attempt: Attempt) -> bool:
        """Whether a flow run is in an attempt. It is when it has not moved since; else its history tells."""
        if flow_run.state_id in {attempt.id, attempt.state.id}:
            return True
        return attempt_of(in_order(await self.client.read_flow_run_states(flow_run.id), flow_run.state)) == attempt.id

    def _is_last(self, attempt: Attempt, there: list[Claim]) -> bool:
        return len(there) == attempt.number + 1 and (not there or there[-1].process == self.me.process)

    async def is_mine(self, attempt: Attempt) -> bool:
        """Whether nobody has taken an attempt over. A deleted flow run's is mine: nobody else knows of it."""
        return await flow_runs.patiently(lambda: self._is_mine(attempt))

    async def _is_mine(self, attempt: Attempt) -> bool:
        there = await read_claims(self.client, attempt.flow_run_id, attempt.id)
        return not there or self._is_last(attempt, there)

    async def report_end(self, attempt: Attempt, message: str, key: str) -> State | None:
        """Report that a flow run's job has ended, if the run has not reported its own end.

        Only a run that counts on this job is touched, and not one that was picked up again since, or taken over.

        Args:
            attempt: The attempt.
            message: What is to be said of the end.
            key: The key of the job that has ended.

        Returns:
            The state that the run was given; None if it was left as it is, or is not there any more.
        """
        while True:
            state = await self.conclude(lambda: self._report(attempt, message, key))
            if state is None or not state.is_cancelling():  # else it is being cancelled: no crash is accepted
                return state if state is not None and (state.is_crashed() or state.is_cancelled()) else None

    async def _report(self, attempt: Attempt, message: str, key: str) -> State | None:
        """Report an end once, if what was read before allows it; returns the state that the run has then."""
        client, looked = self.client, Moment()
        flow_run = await client.read_flow_run(attempt.flow_run_id)
        if flow_run.state is None or not flow_runs.is_active(flow_run):
            return None
        history = in_order(await client.read_flow_run_states(attempt.flow_run_id), flow_run.state)
        if is_outdated(key, history) or not await self._is_mine(attempt):
            return None
        end: State = Cancelled(message=message) if flow_run.state.is_cancelling() else Crashed(message=message)
        with only_while(lambda: looked.age < FRESH):
            return await propose_end(client, attempt.flow_run_id, end, flow_run.state)

    async def conclude(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """Look at a flow run and change it, again until there is an answer; a few at a time.

        Hundreds of jobs may end at once. Of hundreds of looks made together none is fresh any more when its turn to be
        acted upon has come.

        Returns:
            What the call returns; None if the run was moved by somebody else meanwhile, or deleted.
        """

        async def once() -> T:
            async with self._concluding:
                return await call()

        try:
            return await flow_runs.patiently(once)
        except (Abort, Pause, ObjectNotFound):  # the first two are BaseExceptions
            return None

    async def step(self, attempt: Attempt, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call of the API that changes a flow run, again until there is an answer. Each time after a look.

        Raises:
            AttemptLostError: The attempt is not this worker's any more, or the flow run is not active.
            Exception: What the call raises for a reason that does not pass.
        """

        async def once() -> T:
            state = await self.look(attempt)
            if not flow_runs.is_active_state(state):
                raise AttemptLostError(f"the flow run is {state.name} by now.")
            with only_while(attempt.is_fresh):
                return await call()

        return await flow_runs.patiently(once)

    async def note(self, attempt: Attempt, call: Callable[[], Awaitable[T]]) -> T:
        """Write down what has happened in an attempt, as `step` does; also if another worker has it by now.

        Raises:
            AttemptLostError: The flow run is in another attempt, or was deleted.
            Exception: What the call raises for a reason that does not pass.
        """

        async def once() -> T:
            looked = attempt.looked
            if looked.age >= FRESH:
                looked = Moment()
                states = await self.client.read_flow_run_states(attempt.flow_run_id)
                if attempt_of(in_order(states)) != attempt.id:
                    raise AttemptLostError("the flow run was rescheduled, or deleted.")
            with only_while(lambda: looked.age < FRESH):
                return await call()

        return await flow_runs.patiently(once)
