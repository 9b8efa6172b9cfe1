"""The step of a trial that listens to the recipe's watch: whether lines tell of a job's end, and how soon it is known.

All other steps are without it, so they show that the recipe works as well while it does not run.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from generic_worker.answers.news import Lines
from generic_worker.commands.masking import hiding
from generic_worker.commands.processes import CommandResult, last_lines
from generic_worker.commands.rendering import render, without_environment
from generic_worker.errors import GenericWorkerError
from generic_worker.job import JobState
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watches import SETTLED

if TYPE_CHECKING:
    from collections.abc import Callable

    from generic_worker.answers.news import Changed
    from generic_worker.cli.trial.trial import Trial
    from generic_worker.job import Job

TOLD = "The end of a job, told by watch"
_RUNS = 3
"""Seconds that its job runs at least."""
_SOON = 1.0
"""Seconds from a line until what it tells of has to be known, beside those that a status command takes."""
_LATE = 5.0
"""Seconds for which a line is waited for when the end is known without one."""
_SETTLING = 0.5
"""Seconds after a job was first seen running in which lines may still tell of its start."""
_CHATTER = 3
"""Times that something said of a job of which nothing changes is too much. A flood is heard four times a second."""
_TAIL = 16384


class Line(NamedTuple):
    """When something was said that may be about the job, and whether it named the job: otherwise it may be any."""

    at: float
    named: bool


@dataclass(frozen=True)
class Heard:
    """What was heard of a job, and what is known of it otherwise; times are by one clock, in seconds.

    Attributes:
        lines: What may be about the job, in the order of time.
        running: When it was seen running; None if it was not.
        least: When it ended at the soonest.
        known: When its end was known.
        soon: Seconds within which the end has to be known after a line.
        readable: Whether the recipe says how to read a line.
    """

    lines: list[Line]
    running: float | None
    least: float
    known: float
    soon: float
    readable: bool

    def problem(self) -> str:
        """What is wrong with it; empty if nothing is."""
        idle = [line for line in self.lines if self.running and self.running + _SETTLING < line.at < self.least]
        if len(idle) >= _CHATTER:
            seconds = self.least - (self.running or 0)
            return (
                f"something came {len(idle)} times in {seconds:.1f} s that may be about a job of which nothing had "
                "changed: each time states are asked for"
            )
        line = self.telling
        if line is None:
            return "no line told of it. While watch stays, jobs are asked about every `policy.poll` seconds only"
        late = self.known - line.at
        if late > self.soon:
            return f"its end was known {late:.1f} s after the line before it: status is later than the line"
        if late < -_SOON:
            return f"its line came {-late:.1f} s after its end was known without it"
        if self.readable and not line.named:
            return "output cannot read the line that told of it: so it is taken for one about any job"
        return ""

    @property
    def telling(self) -> Line | None:
        """The line that told of the end: the last one before it was known, or else the first one after that."""
        possible = [line for line in self.lines if line.at >= self.least]
        before = [line for line in possible if line.at <= self.known]
        return before[-1] if before else next(iter(possible), None)

    def praise(self) -> str:
        """How well it told of the end, where nothing is wrong."""
        late = self.known - self.telling.at if self.telling else 0.0
        return f"it was known {late:.1f} s after its line" if late >= 0 else "it was known when its line came"


@dataclass
class _Ear:
    """Hears what a watch command says, in that command's thread.

    Attributes:
        lines: How to read it.
        said: Whose jobs may have changed, and when it was said.
        tail: The last of it.
    """

    lines: Lines
    said: list[tuple[float, Changed]] = field(default_factory=list)
    tail: bytes = b""

    def take(self, piece: bytes) -> None:
        self.tail = (self.tail + piece)[-_TAIL:]
        whose = self.lines.take(piece)
        if whose is None or whose:
            self.said.append((time.monotonic(), whose))

    def about(self, job: Job) -> list[Line]:
        """What was said that may be about a job."""
        names = {job.id, job.key}
        return [Line(at, bool(whose)) for at, whose in list(self.said) if whose is None or not names.isdisjoint(whose)]


async def told(trial: Trial, name: str) -> None:
    """When a job ends, a line of the watch command says so, and its end is known within a second."""
    command = trial.recipe.watch
    if command is None:
        return
    ear = _Ear(Lines(command.output))
    trial.runner.overhear = ear.take
    seconds = _RUNS + round(2 * trial.runner.slowest)
    least = time.monotonic() + seconds
    job = (await trial.submit(f"sleep {seconds}")).job
    driver = Driver(trial.recipe, trial.runner)
    try:
        render(trial.recipe, command, without_environment(job.values, driver.watch_names))
    except GenericWorkerError as error:  # it will not even be started
        trial.runner.left.append(error)
    watch = trial.watcher.watch(job, driver, lambda _: None)
    try:
        await trial.reached(watch, lambda: watch.status.state is JobState.RUNNING)
        running = None if watch.ended.done() else time.monotonic()
        status, known = await trial.ended(watch), time.monotonic()
    finally:
        trial.watcher.forget(watch)
    if status is None or status.state is JobState.ABSENT:
        trial.verdicts.not_tried(name, "the end of its job was not seen")
        return
    soon = _SOON + trial.runner.slowest
    while True:
        heard = Heard(ear.about(job), running, least, known, soon, readable=command.output is not None)
        if heard.telling or trial.runner.left or time.monotonic() - known > _LATE:
            break
        await asyncio.sleep(0.1)
    _conclude(trial, name, hiding(job.values), ear, heard)


def _conclude(trial: Trial, name: str, hide: Callable[[str], str], ear: _Ear, heard: Heard) -> None:
    """Conclude what was heard; text of the command is masked with `hide`."""
    ended = trial.runner.left[0] if trial.runner.left else None
    if ended and not (isinstance(ended, CommandResult) and ended.seconds >= SETTLED):
        said = ended.describe(hide) if isinstance(ended, CommandResult) else hide(str(ended))
        found = "the command does not stay, so states are asked for as often as without it"
        trial.verdicts.warns(name, found, "watch", (said,))
    elif problem := heard.problem():
        said = last_lines(ear.tail.decode(errors="replace"), hide, 20, 2000) or "nothing"
        trial.verdicts.warns(name, problem, "watch", ("\n    ".join(["watch said:", *said.splitlines()]),))
    else:
        trial.verdicts.holds(name, heard.praise())
