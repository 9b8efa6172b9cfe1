"""The worker stays up, whatever the Prefect API answers; what happens meanwhile is reported later."""

import pytest
from fault_proxy import HTML, Fault, FaultProxy

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


@pytest.fixture(scope="module")
def serving(server, make_pool, start_worker):
    """A pool, a worker that serves it through all the outages, and the proxy between it and the API."""
    pool = make_pool("outages")
    at_once = {"PREFECT_CLIENT_MAX_RETRIES": "1"}  # not more: Prefect's client tries each call for a minute
    with FaultProxy(server.port) as proxy, start_worker(pool.name, env={"PREFECT_API_URL": proxy.url, **at_once}) as w:
        yield pool, w, proxy


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_ends_neither_the_worker_nor_what_it_is_told(name, serving, until, tmp_path):
    pool, worker, proxy = serving
    before = worker.log.stat().st_size

    def told(words):
        return worker.log.read_bytes()[before:].decode().count(words)

    running = pool.run(command=f"sh -c 'until [ -e {tmp_path}/gate ]; do sleep 0.1; done; exit 3'")
    pool.job(running)
    if OUTAGES[name] is None:
        proxy.cut_off()
    else:
        proxy.add(OUTAGES[name])
        proxy.break_all()
    (tmp_path / "gate").touch()
    until(lambda: told(LOST) == 2, 90)  # once for polling, once for the heartbeat
    later = pool.run(command="sh -c 'exit 4'")
    proxy.mend()

    assert pool.ended(running, 120).message.endswith("exit code 3.")
    assert pool.ended(later, 120).message.endswith("exit code 4.")
    until(lambda: told(BACK) == 2, 90)
    assert worker.poll() is None
    assert told(LOST) == 2


def test_an_address_where_there_is_no_api_ends_the_worker_with_a_sentence(make_pool, start_worker, api_proxy, until):
    pool = make_pool("wrong-address")
    url = api_proxy.url.removesuffix("/api") + "/no-such-place"
    with start_worker(pool.name, env={"PREFECT_API_URL": url}) as worker:
        until(lambda: worker.poll() is not None, 90)

    assert f"{url} is not the address of a Prefect API: it answers with 404. Set PREFECT_API_URL." in (
        worker.log.read_text()
    )


CALLS = ("PATCH", r"/flow_runs/"), ("POST", r"/set_state$"), ("POST", r"/input"), ("GET", r"/flow_runs/")
"""The calls that a worker makes about a flow run after its job was submitted: what it writes and what it reads."""
SLOW_ANSWER = {
    "recipe": 1,
    "name": "slow-answer",
    "variables": {"place": {"type": "string"}},
    "submit": {
        "run": 'cd "$place" && mkdir "$job_key"; until [ -e "$job_key/answer" ]; do sleep 0.1; done; echo "$job_key"',
        "output": {"columns": ["id"]},
    },
    "status": {
        "run": 'cd "$place/$job_key"; if [ -e over ]; then echo done 3; else echo busy; fi',
        "output": {"regex": r"^(?P<state>\w+) ?(?P<exit_code>\d*)$"},
    },
    "cancel": {"run": ["true"]},
    "states": {"running": ["busy"], "finished": ["done"]},
    "policy": {"poll": 1},
}


def test_no_refusal_of_the_api_ends_the_watch_of_a_job_that_is_there(
    make_pool, start_worker, api_proxy, until, tmp_path
):
    """The next call of each kind is refused when the job is there and its id is to be saved, and again at its end."""
    pool = make_pool("refused", SLOW_ANSWER)
    with start_worker(pool.name, env={"PREFECT_API_URL": api_proxy.url, "PREFECT_CLIENT_MAX_RETRIES": "0"}) as worker:
        for code in (401, 403, 409, 422, 500):
            run = pool.run(place=str(tmp_path))
            (job,) = until(lambda: list(tmp_path.glob("pf-*")), 90)
            refusals = [Fault(status=code, method=method, path=path, times=1) for method, path in CALLS]
            for refusal in refusals:
                api_proxy.add(refusal)
            (job / "answer").touch()
            assert pool.job(run, 60).id == job.name
            for refusal in refusals:
                refusal.times = 1
            (job / "over").touch()
            message = f"The slow-answer job {job.name} ended as done, exit code 3."
            assert (code, pool.ended(run, 60).message) == (code, message)
            job.rename(tmp_path / f"ended-{code}")

        assert "could not be saved" not in worker.log.read_text()
