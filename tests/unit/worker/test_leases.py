"""The slots of flow runs that wait, looked after for hours in simulated time."""

import asyncio
import itertools
import logging
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Pending, Running

from generic_worker.jobs import clock
from generic_worker.worker.leases import Leases

LOG = logging.getLogger("test.leases")


class Api:
    """The two calls of the API that leases need, with runs that the test has made. Prefect's own is in tests/system."""

    def __init__(self, runs):
        self.runs = {run.id: run for run in runs}
        self.reads = 0
        self.renewed = []
        self.down = False

    async def read_flow_runs(self, *, flow_run_filter, **_):
        self.reads += 1
        return [self.runs[one] for one in flow_run_filter.id.any_]

    async def renew_concurrency_lease(self, lease, seconds):
        if self.down:
            raise ConnectionError("no route to the API")
        self.renewed.append((clock.now(), lease, seconds))


def a_run(lease, state=Pending):
    state = state()
    state.state_details.deployment_concurrency_lease_id = lease
    return FlowRun(id=uuid4(), flow_id=uuid4(), state=state)


@pytest.fixture
def look_after(simulated):
    """Look after the leases of all runs every 15 seconds, for so long; `at` says what happens before a round."""

    def work(api, seconds, at=lambda _: None):
        async def scenario():
            leases, begin = Leases(SimpleNamespace(client=api), LOG), clock.now()
            while clock.now() - begin < seconds:
                at(clock.now() - begin)
                await leases.renew(api.runs.keys())
                await asyncio.sleep(15)

        simulated(scenario())

    return work


def test_a_lease_is_read_once_and_renewed_every_minute_long_before_it_ends(look_after):
    lease = UUID(int=7)
    api = Api([a_run(lease)])
    look_after(api, 3600)
    times = [time for time, *_ in api.renewed]

    assert api.reads == 1
    assert {(which, seconds) for _, which, seconds in api.renewed} == {(lease, 300.0)}
    assert [round(later - earlier) for earlier, later in itertools.pairwise(times)] == [60] * 59


def test_a_run_without_a_limit_or_that_runs_already_has_no_lease_to_renew(look_after):
    api = Api([a_run(None), a_run(UUID(int=7), Running)])
    look_after(api, 600)

    assert api.renewed == []


def test_a_run_that_waits_no_longer_is_forgotten(look_after):
    api = Api([a_run(UUID(int=7))])
    look_after(api, 600, lambda seconds: api.runs.clear() if seconds > 100 else None)

    assert len(api.renewed) == 2


def test_a_lease_that_could_not_be_renewed_is_read_anew_and_tried_in_the_next_round(look_after, caplog):
    api = Api([a_run(UUID(int=7))])

    def outage(seconds):
        api.down = 55 < seconds < 70

    look_after(api, 100, outage)
    (first, *_), (second, *_) = api.renewed

    assert round(second - first) == 75
    assert api.reads == 2
    (run,) = api.runs
    assert caplog.messages == [
        f"Flow run {run}: its concurrency lease could not be renewed: no route to the API",
    ]


def test_a_lease_that_stays_lost_is_told_of_once_for_each_run(look_after, caplog):
    api = Api([a_run(UUID(int=7)), a_run(UUID(int=8))])
    api.down = True
    look_after(api, 600)

    assert len(caplog.messages) == 2
