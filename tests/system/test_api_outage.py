"""The worker stays up, whatever the Prefect API answers; what happens meanwhile is reported later."""

import pytest
from fault_proxy import HTML, Fault

OUTAGES = {
    "no-network": None,
    "html-with-status-200": Fault(status=200, body=HTML, headers={"content-type": "text/html"}),
    "cut-off-answers": Fault(cut=True),
    "dropped-connections": Fault(drop=True),
    "status-401": Fault(status=401),
    "status-403": Fault(status=403),
    "status-429": Fault(status=429, headers={"retry-after": "1"}),
    "status-500": Fault(status=500),
    "status-503": Fault(status=503),
}
LOST = "The Prefect API does not answer as it should"
BACK = "The Prefect API answers again after"


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_ends_neither_the_worker_nor_what_it_is_told(name, make_pool, start_worker, api_proxy, until):
    pool = make_pool(f"outage-{name}")
    at_once = {"PREFECT_CLIENT_MAX_RETRIES": "1"}  # not more: Prefect's client tries each call for a minute
    with start_worker(pool.name, env={"PREFECT_API_URL": api_proxy.url, **at_once}) as worker:
        running = pool.run(command="sh -c 'sleep 2; exit 3'")
        pool.job(running)
        if OUTAGES[name] is None:
            api_proxy.cut_off()
        else:
            api_proxy.add(OUTAGES[name])
            api_proxy.break_all()
        until(lambda: worker.log.read_text().count(LOST) == 2, 90)  # once for polling, once for the heartbeat
        later = pool.run(command="sh -c 'exit 4'")
        api_proxy.mend()

        assert pool.ended(running, 120).message.endswith("exit code 3.")
        assert pool.ended(later, 120).message.endswith("exit code 4.")
        until(lambda: worker.log.read_text().count(BACK) == 2, 90)
        assert worker.poll() is None
        assert worker.log.read_text().count(LOST) == 2


def test_an_address_where_there_is_no_api_ends_the_worker_with_a_sentence(make_pool, start_worker, api_proxy, until):
    pool = make_pool("wrong-address")
    url = api_proxy.url.removesuffix("/api") + "/no-such-place"
    with start_worker(pool.name, env={"PREFECT_API_URL": url}) as worker:
        until(lambda: worker.poll() is not None, 90)

    assert f"{url} is not the address of a Prefect API: it answers with 404. Set PREFECT_API_URL." in (
        worker.log.read_text()
    )
