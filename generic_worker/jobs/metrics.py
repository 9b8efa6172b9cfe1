"""Figures for Prometheus, in the endpoint that Prefect's client has for its own (`PREFECT_CLIENT_METRICS_ENABLED`).

Labels are names of recipes, operations, states and outcomes, so that there are few of them, and none is a deployer's.
"""

from __future__ import annotations

import time
from collections import Counter as Counts
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import REGISTRY, Collector

from generic_worker.commands.runner import CommandRunner
from generic_worker.errors import CommandError, CommandOverdue, GenericWorkerError, SubmitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from generic_worker.commands.runner import Command, CommandResult
    from generic_worker.jobs.watcher import Watcher

_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)

COMMAND_SECONDS = Histogram(
    "generic_worker_command_seconds",
    "How long the commands of a recipe took.",
    ["recipe", "operation"],
    buckets=_SECONDS,
)
COMMAND_FAILURES = Counter(
    "generic_worker_command_failures",
    "Commands that exited with another code than 0, did not end in time, or could not be started.",
    ["recipe", "operation"],
)
SUBMISSIONS = Counter(
    "generic_worker_submissions",
    "Flow runs whose submission is over: submitted, not_submitted, or unknown, where a job may exist.",
    ["recipe", "outcome"],
)
REPORT_SECONDS = Histogram(
    "generic_worker_report_seconds",
    "From the answer that showed a job's end to the report of it to Prefect.",
    ["recipe"],
    buckets=_SECONDS,
)
FLOW_RUNS = Counter(
    "generic_worker_flow_runs",
    "Flow runs that were adopted from a worker that is gone, handed_back to the queue, or whose job was lost.",
    ["what"],
)


@contextmanager
def counted_submission(recipe: str) -> Iterator[None]:
    """Count what becomes of the submission that is made in this context."""
    try:
        yield
    except GenericWorkerError as error:
        unknown = isinstance(error, SubmitError) and error.ambiguous
        SUBMISSIONS.labels(recipe, "unknown" if unknown else "not_submitted").inc()
        raise
    SUBMISSIONS.labels(recipe, "submitted").inc()


class MeasuredRunner(CommandRunner):
    """Runs commands, and counts them.

    Args:
        recipe: The name of the recipe that they are of.
        limit: How many run at once.
    """

    def __init__(self, recipe: str, limit: int) -> None:
        super().__init__(limit)
        self._recipe = recipe

    async def run(self, command: Command) -> CommandResult:
        """Run a command, as `CommandRunner` does."""
        labels = self._recipe, command.operation
        try:
            result = await super().run(command)
        except CommandOverdue:
            raise  # it has not failed: it is asked for again
        except CommandError:
            COMMAND_FAILURES.labels(*labels).inc()
            raise
        COMMAND_SECONDS.labels(*labels).observe(result.seconds)
        if result.exit_code != 0 or result.timed_out:
            COMMAND_FAILURES.labels(*labels).inc()
        return result


class _JobsCollector(Collector):
    """The jobs of all the watchers of this process, counted when Prometheus asks."""

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures. This runs in another thread than the watcher."""
        watchers = list(self.watchers)
        if not watchers:
            return
        jobs = GaugeMetricFamily("generic_worker_jobs", "Jobs that are watched.", labels=["recipe", "state"])
        states = Counts((one.job.recipe, one.status.state.value) for watcher in watchers for one in watcher.watches)
        for labels, number in sorted(states.items()):
            jobs.add_metric(labels, number)
        yield jobs
        answered = GaugeMetricFamily(
            "generic_worker_infrastructure_last_answer_seconds",
            "Seconds since an infrastructure with watched jobs last answered in full.",
            labels=["recipe"],
        )
        moments: dict[str, float] = {}
        for recipe, moment in (pair for watcher in watchers for pair in watcher.last_answers()):
            moments[recipe] = min(moment, moments.get(recipe, moment))
        for recipe, moment in sorted(moments.items()):
            answered.add_metric([recipe], max(time.time() - moment, 0))
        yield answered


_COLLECTOR = _JobsCollector()
REGISTRY.register(_COLLECTOR)


@contextmanager
def counted_jobs(watcher: Watcher) -> Iterator[None]:
    """Let Prometheus ask for the jobs of a watcher for as long as the context lasts. A process may have several."""
    _COLLECTOR.watchers.add(watcher)
    try:
        yield
    finally:
        _COLLECTOR.watchers.discard(watcher)
