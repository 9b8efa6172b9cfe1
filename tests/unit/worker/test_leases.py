"""The slots of flow runs that wait, looked after for hours in simulated time."""

import asyncio
import itertools
import logging
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Pending, Running

from generic_worker.jobs import clock
from generic_worker.worker.leases import Leases

LOG = logging.getLogger("test.leases")
DEPLOYMENT = UUID(int=5)
LOST = (
    "Flow run {} has lost its concurrency slot: the lease is gone. It gets a free slot when its flow begins,"
    " and goes back into the queue if there is none."
)


class Api:
    """The calls of the API that leases need, with runs that the test has made. Prefect's own is in tests/system."""

    def __init__(self, runs, grace=None):
        self.runs = {run.id: run for run in runs}
        self.grace = grace
        self.reads = 0
        self.renewed = []
        self.down = False
        self.gone = set()
        self.limits = {}

    async def read_deployment(self, _):
        return SimpleNamespace(concurrency_options=self.grace and SimpleNamespace(grace_period_seconds=self.grace))

    async def read_global_concurrency_limit_by_name(self, name):
        if name not in self.limits:
            raise ObjectNotFound(Exception(name))
        limit, taken = self.limits[name]
        return SimpleNamespace(active=True, limit=limit, active_slots=taken)

    async def read_flow_runs(self, *, flow_run_filter, **_):
        self.reads += 1
        return [self.runs[one] for one in flow_run_filter.id.any_]

    async def renew_concurrency_lease(self, lease, seconds):
        if self.down:
            raise ConnectionError("no route to the API")
        if lease in self.gone:
            raise httpx.HTTPStatusError("gone", request=None, response=httpx.Response(410))
        self.renewed.append((clock.now(), lease, seconds))


def a_run(lease, state=Pending, waited=0):
    state = state(timestamp=datetime.now(timezone.utc) - timedelta(seconds=waited))
    state.state_details.deployment_concurrency_lease_id = lease
    return FlowRun(id=uuid4(), flow_id=uuid4(), deployment_id=DEPLOYMENT, state=state)


def entries(number, deployment):
    return [SimpleNamespace(flow_run=SimpleNamespace(deployment_id=deployment)) for _ in range(number)]


@pytest.fixture
def look_after(simulated):
    """Look after the leases of all runs every 15 seconds, for so long; `at` says what happens before a round."""

    def work(api, seconds, at=lambda _: None):
        async def scenario():
            leases, begin = Leases(lambda: api, LOG), clock.now()
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
    assert {(which, seconds) for _, which, seconds in api.renewed} == {(lease, 3600.0)}
    assert [round(later - earlier) for earlier, later in itertools.pairwise(times)] == [60] * 59


def test_a_run_without_a_limit_or_that_runs_already_has_no_lease_to_renew(look_after):
    api = Api([a_run(None), a_run(UUID(int=7), Running)])
    look_after(api, 600)

    assert api.renewed == []


def test_a_run_that_waits_no_longer_is_forgotten(look_after):
    api = Api([a_run(UUID(int=7))])
    look_after(api, 600, lambda seconds: api.runs.clear() if seconds > 100 else None)

    assert len(api.renewed) == 2


def test_a_lease_that_could_not_be_renewed_is_tried_again_in_the_next_round(look_after, caplog):
    api = Api([a_run(UUID(int=7))])

    def outage(seconds):
        api.down = 55 < seconds < 70

    look_after(api, 100, outage)
    (first, *_), (second, *_) = api.renewed

    assert round(second - first) == 75
    (run,) = api.runs
    assert caplog.messages == [
        f"Flow run {run}: its concurrency lease could not be renewed: no route to the API",
    ]


def test_an_outage_of_hours_is_told_of_once_for_each_run(look_after, caplog):
    api = Api([a_run(UUID(int=7)), a_run(UUID(int=8))])
    api.down = True
    look_after(api, 7200)

    assert len(caplog.messages) == 2


def test_a_lease_lasts_as_long_as_its_deployment_says_but_not_for_less_than_five_minutes(look_after):
    long, short = Api([a_run(UUID(int=7))], grace=86400), Api([a_run(UUID(int=7))], grace=60)
    look_after(long, 10)
    look_after(short, 10)

    assert [seconds for *_, seconds in long.renewed + short.renewed] == [86400, 300]


def test_the_leases_of_abandoned_runs_are_renewed_too_and_those_of_the_longest_wait_first():
    runs = [a_run(UUID(int=number), waited=number * 60) for number in (20, 10, 30)]
    api = Api(runs[:1])
    asyncio.run(Leases(lambda: api, LOG).renew(api.runs.keys(), runs[1:]))

    assert [lease.int for _, lease, _ in api.renewed] == [30, 20, 10]


def test_an_abandoned_run_that_nobody_can_take_over_is_looked_after_once(simulated):
    kept, lost = a_run(UUID(int=7)), a_run(UUID(int=8))
    api = Api([])
    api.gone, api.limits = {UUID(int=8)}, {f"deployment:{DEPLOYMENT}": (1, 0)}
    api.runs = {lost.id: lost}
    admitted = []

    async def scenario():
        leases = Leases(lambda: api, LOG)
        for _ in range(20):
            await leases.renew([], [kept, lost])
            await leases.without_slot()
            admitted.append(len(leases.leave_free(entries(1, DEPLOYMENT))))
            await asyncio.sleep(15)

    simulated(scenario())

    assert [lease.int for _, lease, _ in api.renewed] == [7]
    assert admitted == [0] + [1] * 19


def test_a_lease_that_is_gone_is_told_of_once_and_not_asked_for_again(look_after, caplog):
    api = Api([a_run(UUID(int=7)), a_run(UUID(int=8))])
    api.gone = {UUID(int=7)}
    look_after(api, 3600)
    (run, _) = api.runs

    assert caplog.messages == [LOST.format(run)]
    assert {lease.int for _, lease, _ in api.renewed} == {8}


def test_a_run_that_was_picked_up_again_has_another_lease_and_has_lost_nothing(look_after, caplog):
    first = a_run(UUID(int=7))
    again = a_run(UUID(int=8)).model_copy(update={"id": first.id})
    api = Api([first])

    def move_on(seconds):
        if seconds > 100:
            api.runs, api.gone = {again.id: again}, {UUID(int=7)}

    look_after(api, 300, move_on)

    assert caplog.messages == []
    assert [lease.int for _, lease, _ in api.renewed] == [7, 7, 8, 8, 8]


@pytest.mark.parametrize(
    ("slots", "without", "admitted"),
    [((3, 3), 2, 0), ((3, 2), 1, 0), ((3, 1), 0, 0), ((3, 0), 0, 1), ((2, 3), 2, 0), (None, 0, 5)],
)
def test_free_slots_are_left_to_runs_that_have_lost_theirs_the_longest_wait_first(slots, without, admitted):
    """Of five scheduled runs of the deployment so many are picked up; those of others always are."""
    runs = [a_run(UUID(int=number), waited=number) for number in (1, 2)]
    api = Api(runs)
    api.gone = {UUID(int=1), UUID(int=2)}
    if slots:
        api.limits[f"deployment:{DEPLOYMENT}"] = slots

    async def scenario():
        leases = Leases(lambda: api, LOG)
        await leases.renew(api.runs.keys())
        found = await leases.without_slot()
        return found, leases.leave_free(entries(5, DEPLOYMENT)), leases.leave_free(entries(5, UUID(int=6)))

    found, own, others = asyncio.run(scenario())

    assert found == {run.id for run in runs[:without]}
    assert (len(own), len(others)) == (admitted, 5)
