"""`prefect worker start --with-healthcheck`: true through an outage that the worker survives, false when it hangs."""

import subprocess
import sys
import urllib.error
import urllib.request

import pytest

HANGING = """
import asyncio, os, sys, time
from generic_worker.worker.worker import GenericWorker

class Hanging(GenericWorker):
    type = "hanging"

    async def get_and_submit_flow_runs(self):
        found = await super().get_and_submit_flow_runs()
        if os.path.exists(sys.argv[2]):
            asyncio.get_running_loop().call_soon(time.sleep, 3600)
        return found

    def _refuse_other_types(self):
        pass

asyncio.run(Hanging(sys.argv[1], name="hanging").start(with_healthcheck=True))
"""


@pytest.fixture
def health(free_port):
    """The port of a worker's health server; and what that answers now, 0 when it does not."""
    port = free_port()

    def ask():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    settings = {"PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1", "PREFECT_WORKER_WEBSERVER_PORT": str(port)}
    return settings, ask


def test_it_stays_true_through_an_outage_that_is_longer_than_it_bears(
    make_pool, start_worker, api_proxy, until, health
):
    settings, ask = health
    pool = make_pool("healthy")
    often = {
        "PREFECT_WORKER_QUERY_SECONDS": "0.4",
        "PREFECT_CLIENT_MAX_RETRIES": "0",
    }  # 12 s are its patience
    often |= {**settings, "PREFECT_API_URL": api_proxy.url}
    with start_worker(pool.name, env=often, options=["--with-healthcheck"]) as worker:
        until(lambda: ask() == 200, 120)
        api_proxy.cut_off()
        until(lambda: "does not answer as it should" in worker.log.read_text(), 60)
        answers = []
        until(lambda: answers.append(ask()) or len(answers) == 20, 200, every=0.75)
        api_proxy.mend()

    assert set(answers) == {200}


def test_it_turns_false_when_the_worker_hangs(server, make_pool, until, health, tmp_path):
    settings, ask = health
    pool = make_pool("hanging")
    command = [sys.executable, "-c", HANGING, pool.name, tmp_path / "hang"]
    often = {**server.env, **settings, "PREFECT_WORKER_QUERY_SECONDS": "0.2"}
    with (server.home / "hanging.log").open("wb") as log:
        worker = subprocess.Popen(command, env=often, stdout=log, stderr=log)
    try:
        until(lambda: ask() == 200, 120)
        (tmp_path / "hang").touch()
        until(lambda: ask() == 503, 60)
    finally:
        worker.kill()
        worker.wait(60)
