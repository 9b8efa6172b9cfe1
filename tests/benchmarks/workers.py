"""Starts a worker: `workers.py KIND POOL [...]`. `noop` is the least that a Prefect worker can be."""

import asyncio
import gc
import json
import sys
from pathlib import Path

from measure import cpu, memory, stalls
from prefect.client.schemas.objects import StateType
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from generic_worker.worker.api_calls import Moment
from generic_worker.worker.assignments import Assignment
from generic_worker.worker.attempts import Attempt
from generic_worker.worker.queries import runs_of_pool
from generic_worker.worker.worker import GenericWorker

WINDOW = 46.0  # three polls, or three rounds of the keeper, and a little


class NoopWorker(BaseWorker):
    """Runs nothing, and says so at once."""

    type = "noop"
    job_configuration = BaseJobConfiguration
    job_configuration_variables = BaseVariables

    async def run(self, flow_run, configuration, task_status=None):  # noqa: ARG002 - Prefect's
        task_status.started("nothing")
        return BaseWorkerResult(identifier="nothing", status_code=0)


class HoldingWorker(NoopWorker):
    """The same, but what it runs goes on: it holds what Prefect holds of a run."""

    type = "holding"

    async def run(self, flow_run, configuration, task_status=None):
        await super().run(flow_run, configuration, task_status)
        await asyncio.Event().wait()


class AdoptingWorker(GenericWorker):
    """Watches the flow runs of its pool as if it had submitted their jobs.

    Its further words: a file that it lists the jobs in for the status command, and one that it makes when it knows
    them all to run. Every second job counts as one that has run for long by then.
    """

    type = "adopting"
    state = StateType.RUNNING
    """The state of its flow runs, which is the native word for that of their jobs, too."""

    async def __aenter__(self):
        await super().__aenter__()
        self.measuring = asyncio.create_task(self.measure(*map(Path, sys.argv[3:])))
        return self

    async def measure(self, listing, ready):
        await self.take_all(listing)
        for assignment in list(self._assignments)[1::2]:
            assignment.watch.changed -= 3600
        ready.touch()

    async def take_all(self, listing):
        template, runs = (
            self.work_pool.base_job_template,
            await runs_of_pool(self.client, self.work_pool.name, [self.state]),
        )
        configuration = await self.job_configuration.from_template_and_values(template, {}, client=self.client)
        configuration.prepare_for_flow_run(runs[0], None, None, self.work_pool, self.name, self.backend_id)
        jobs = [configuration.job(flow_run) for flow_run in runs]
        for number, job in enumerate(jobs):
            job.id = str(number)
        listing.write_text("".join(f"{job.id}|{self.state.value}|{job.key}|None\n" for job in jobs))
        for flow_run, job in zip(runs, jobs, strict=True):
            attempt = Attempt(flow_run.id, flow_run.state_id, -1, flow_run.state, Moment())
            self._adopt(Assignment(flow_run, attempt, job, self.driver(configuration.loaded_recipe)))
        for assignment in self._assignments:
            while not (assignment.watch and assignment.watch.status.state.alive):  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.2)


class WatchingWorker(AdoptingWorker):
    """Watches the flow runs of its pool as if it had submitted their jobs, and writes down what that costs.

    Its further words: a file for the status command to print, one in which that command counts itself, one for the
    figures, and the pid of a worker to compare with.
    """

    type = "watching"

    async def measure(self, listing, calls, report, idle):
        gc.collect()
        room = memory()
        await self.take_all(listing)
        await asyncio.sleep(15)  # for the news of all jobs to reach the server
        for watch in self._watcher.watches:
            watch.changed -= 3600  # as if they had run for long
        await asyncio.sleep(2)
        requests = self.counted_requests()
        asked, used, beside = calls.stat().st_size, sum(cpu()), sum(cpu(idle.name))
        await asyncio.sleep(WINDOW)
        found = {
            "commands": (calls.stat().st_size - asked) * 60 / WINDOW,
            "requests": len(requests) * 60 / WINDOW,
            "processor": (sum(cpu()) - used) / WINDOW,
            "idle": (sum(cpu(idle.name)) - beside) / WINDOW,
        }
        gaps = []
        task = asyncio.create_task(stalls(gaps))  # which itself costs processor time
        await asyncio.sleep(WINDOW / 2)  # a poll and a round at the least
        task.cancel()
        gc.collect()
        found |= {"stall": max(gaps), "stalls": sorted(gaps)[-5:], "memory": memory() - room}
        report.with_suffix(".new").write_text(json.dumps(found))
        report.with_suffix(".new").rename(report)

    def counted_requests(self):
        """A list that grows with each request to the API from now on."""
        requests, send = [], self.client._client.send

        async def counting(request, *args, **kwargs):
            requests.append(request.url.path)
            return await send(request, *args, **kwargs)

        self.client._client.send = counting
        return requests


class WaitingWorker(WatchingWorker):
    """The same with flow runs that wait for their jobs to leave a queue."""

    type = "waiting"
    state = StateType.PENDING


WORKERS = (NoopWorker, HoldingWorker, AdoptingWorker, WatchingWorker, WaitingWorker, GenericWorker)
KINDS = {one.type: one for one in WORKERS}

if __name__ == "__main__":
    kind, pool = sys.argv[1:3]
    worker = KINDS[kind](work_pool_name=pool, name=kind, create_pool_if_not_found=False)
    asyncio.run(worker.start(printer=lambda text: print(text, flush=True)))
