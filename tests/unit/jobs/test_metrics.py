"""What Prometheus is told about commands and jobs."""

import asyncio
import contextlib
import logging

import pytest
from prometheus_client import REGISTRY, generate_latest

from generic_worker.commands.programs import Command
from generic_worker.errors import CommandNotFound, SubmitError
from generic_worker.job import Job
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.metrics import MeasuredRunner, counted_jobs, counted_submission
from generic_worker.jobs.watcher import Watcher
from generic_worker.library.loading import load

RECIPE = {
    "recipe": 1,
    "name": "measured",
    "submit": {"run": ["true"], "output": {"regex": "(?P<id>.)"}},
    "status": {"run": ["echo", "1|R"], "output": {"columns": ["id", "state"], "separator": "|"}},
    "states": {"running": ["R"], "finished": ["D"]},
    "cancel": {"run": ["true"]},
}


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_commands_are_counted_by_recipe_and_operation():
    runner = MeasuredRunner("measured", 4)
    labels = {"recipe": "measured", "operation": "cancel"}
    seconds, failures = "generic_worker_command_seconds_count", "generic_worker_command_failures_total"
    before = value(seconds, **labels), value(failures, **labels)

    async def run(*argv):
        return await runner.run(Command(argv, operation="cancel"))

    asyncio.run(run("true"))
    asyncio.run(run("false"))
    with pytest.raises(CommandNotFound):
        asyncio.run(run("no-such-program"))

    assert (value(seconds, **labels) - before[0], value(failures, **labels) - before[1]) == (2, 2)


def test_jobs_are_counted_by_recipe_and_state_and_no_longer_when_the_worker_has_stopped():
    async def check():
        driver = Driver(load(RECIPE).recipe, MeasuredRunner("measured", 4))
        async with Watcher(logging.getLogger("test.metrics")) as watcher:
            with counted_jobs(watcher):
                seen = asyncio.Event()
                job = Job("pf-1-1", {"job_key": "pf-1-1"}, "measured", id="1")
                watcher.watch(job, driver, lambda _: seen.set())
                first = value("generic_worker_jobs", recipe="measured", state="unknown")
                await asyncio.wait_for(seen.wait(), 60)
                return first, value("generic_worker_jobs", recipe="measured", state="running"), generate_latest()

    first, running, text = asyncio.run(check())

    assert (first, running) == (1, 1)
    assert b'generic_worker_infrastructure_last_answer_seconds{recipe="measured"}' in text
    assert b"generic_worker_jobs" not in generate_latest()


def test_a_status_command_is_counted_as_such():
    labels = {"recipe": "measured", "operation": "status"}
    before = value("generic_worker_command_seconds_count", **labels)
    driver = Driver(load(RECIPE).recipe, MeasuredRunner("measured", 4))
    asyncio.run(driver.status([Job("pf-1-1", {"job_key": "pf-1-1"}, "measured", id="1")]))

    assert value("generic_worker_command_seconds_count", **labels) - before == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "submitted"),
        (SubmitError("refused"), "not_submitted"),
        (SubmitError("no answer", ambiguous=True), "unknown"),
        (CommandNotFound("sbatch"), "not_submitted"),
    ],
)
def test_submissions_are_counted_by_what_becomes_of_them(error, outcome):
    before = value("generic_worker_submissions_total", recipe="measured", outcome=outcome)
    with pytest.raises(type(error)) if error else contextlib.nullcontext(), counted_submission("measured"):
        if error:
            raise error

    assert value("generic_worker_submissions_total", recipe="measured", outcome=outcome) - before == 1


def test_a_process_with_two_workers_counts_the_jobs_of_both():
    async def check():
        driver = Driver(load(RECIPE).recipe, MeasuredRunner("measured", 4))
        log = logging.getLogger("test.metrics")
        async with Watcher(log) as first, Watcher(log) as second:
            with counted_jobs(first), counted_jobs(second):
                for number, watcher in enumerate((first, second)):
                    job = Job(f"pf-1-{number}", {"job_key": f"pf-1-{number}"}, "measured", id=str(number))
                    watcher.watch(job, driver, lambda _: None)
                return value("generic_worker_jobs", recipe="measured", state="unknown")

    assert asyncio.run(check()) == 2
