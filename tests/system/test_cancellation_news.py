"""Prefect's events hurry the look for runs that are being cancelled; without them the worker asks each second."""

import asyncio
import logging

import pytest
from fault_proxy import Fault, FaultProxy
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Pending

from generic_worker.worker.cancellation_news import CancellationNews


@pytest.fixture
def proxy(server):
    """A proxy in front of the API."""
    with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def pool(make_pool, tmp_path, request):
    """A pool whose jobs wait in a queue until they are cancelled."""
    jobs = tmp_path / "jobs"
    recipe = {
        "recipe": 1,
        "name": "queue",
        "submit": {"run": f'echo "$job_key|PENDING" >>{jobs}; echo "$job_key"', "output": {"regex": "(?P<id>.+)"}},
        "status": {"run": f"cat {jobs}", "output": {"columns": ["id", "state"], "separator": "|"}},
        "cancel": {"run": f'sed -i "s/^$job_id|.*/$job_id|REMOVED/" {jobs}'},
        "states": {"pending": ["PENDING"], "cancelled": ["REMOVED"], "succeeded": ["DONE"]},
    }
    return make_pool(request.node.name.removeprefix("test_")[:40].replace("_", "-"), recipe)


def counted(proxy, path):
    """How often something was asked for."""
    return sum(call.path.endswith(path) for call in proxy.calls)


async def eventually(condition):
    """Wait until a condition holds."""
    while not condition():  # noqa: ASYNC110 - no event says so; pytest ends it
        await asyncio.sleep(0.05)


def test_a_cancellation_of_ours_is_news_and_so_is_a_stream_that_begins_again(pool, proxy):
    others, ours = pool.run(), pool.run()

    async def followed():
        news = CancellationNews(lambda flow_run_id: flow_run_id == ours, logging.getLogger("test"))
        listening = asyncio.create_task(news.listen())
        await eventually(lambda: news.is_up)
        heard = [news.heard]
        for run in (others, ours):
            for state in (Pending(), Cancelling()):
                await asyncio.to_thread(pool.set_state, run, state)
        await eventually(lambda: news.heard > heard[0])
        heard.append(news.heard)
        proxy.break_all()
        await eventually(lambda: news.heard > heard[1] and news.is_up)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        return heard, news.is_up

    with temporary_settings({PREFECT_API_URL: proxy.url}):
        assert asyncio.run(followed()) == ([1, 2], False)


def test_while_events_tell_of_cancellations_a_queued_run_costs_few_requests(pool, proxy, start_worker, until):
    with start_worker(pool.name, env={"PREFECT_API_URL": proxy.url}):
        run = pool.run()
        pool.job(run)
        until(lambda: counted(proxy, "/events/out"), 60)
        before = counted(proxy, "/flow_runs/filter"), counted(proxy, "/get_scheduled_flow_runs")
        until(lambda: counted(proxy, "/get_scheduled_flow_runs") > before[1] + 15, 120)  # one each second
        asked = counted(proxy, "/flow_runs/filter") - before[0]
        pool.cancel(run)

        assert pool.ended(run).name == "Cancelled"
    assert asked < 10


def test_without_events_a_queued_run_is_cancelled_too(pool, proxy, start_worker, until):
    proxy.add(Fault(path="/events/out", status=403))
    with start_worker(pool.name, env={"PREFECT_API_URL": proxy.url}):
        run = pool.run()
        pool.job(run)
        pool.cancel(run)

        assert pool.ended(run).name == "Cancelled"
        until(lambda: counted(proxy, "/events/out"), 60)
