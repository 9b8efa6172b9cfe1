"""Hundreds of flow runs that a worker has left: the next takes them over in one go, with a handful of commands."""

import json

import pytest

NUMBER = 500


def listing(place):
    """A recipe whose jobs are the lines of a file; each look at it is written down."""
    return {
        "recipe": 1,
        "name": "listing",
        "submit": {"run": ["false"], "output": {"regex": "(?P<id>.+)"}},
        "status": {
            "run": f"echo >>{place}/calls; cat {place}/jobs",
            "output": {"columns": ["id", "state", "key"], "separator": "|"},
        },
        "cancel": {"run": ["true"]},
        "states": {"running": ["RUNNING"], "succeeded": ["DONE"], "failed": ["FAILED"]},
    }


@pytest.mark.timeout(600)
def test_hundreds_of_runs_are_taken_over_in_one_go(make_pool, start_worker, api_proxy, until, multiply, tmp_path):
    from prefect.states import Pending, Running  # noqa: PLC0415 - after the server's settings

    pool, jobs = make_pool("many", listing(tmp_path)), []

    def left_by_a_worker(run, index):
        key = f"pf-{run.hex}-000000"
        jobs.append(f"{index}|RUNNING|{key}\n")
        pid = f"listing:///{index}?key={key}"
        return {"infrastructure_pid": pid, "labels": json.dumps({"prefect.worker.name": "w"})}

    first = pool.run()
    pool.set_state(first, Pending())
    pool.set_state(first, Running())
    runs = multiply(first, NUMBER, left_by_a_worker)
    pool.delete(first)
    (tmp_path / "jobs").write_text("".join(jobs))
    with start_worker(pool.name, env={"PREFECT_API_URL": api_proxy.url}) as worker:
        until(lambda: "Took over" in worker.log.read_text(), 240)
        (tmp_path / "jobs").write_text("".join(jobs).replace("RUNNING", "FAILED"))
        state = pool.ended(runs[0], 120)
        calls = (tmp_path / "calls").stat().st_size
    log = worker.log.read_text()
    read = [call.path for call in api_proxy.calls if call.method == "GET" and "/deployments/" in call.path]

    assert f"Took over {NUMBER} flow runs; 0 others" in log
    assert state.message == "The listing job 0 ended as FAILED."
    assert "Traceback" not in log
    assert calls < 60, "they are asked about together, every few seconds"
    assert len(read) < NUMBER / 10, "they have one deployment, which is read once for all"
