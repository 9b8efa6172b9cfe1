"""Whatever is printed and whatever a deployment gives, the worker goes on serving everybody else."""

import os
from pathlib import Path

import pytest
import yaml

FAKES = Path(__file__).parents[1] / "fakes"
SLOW, LONG = "(?:a|aa)*$", 100 * "a" + "!"
FLOODS = {  # what stands in the place that the status command also shows, and what is said of it
    "a pattern that takes years": (f"1|ACTIVE||pf-1|{LONG}\n", "output.regex: the pattern "),
    "status lines": (1_500_000 * "4711|ACTIVE||pf-1|aa\n", "it did not end by itself, or printed too much"),
}
MOST = 1_000_000
"""KiB of memory that a worker has at the most: forty megabytes of lines took 1.6 GiB."""


@pytest.fixture
def site(tmp_path):
    """The environment of tests/fakes/faulty, whose state is in a folder of the test, as is what is shown beside it."""
    (tmp_path / "beside").touch()
    return {"FAULTY_DIR": str(tmp_path), "PATH": f"{FAKES}:{os.environ['PATH']}"}


def test_no_output_keeps_a_worker_from_serving_others(make_pool, start_worker, site, tmp_path, until):
    recipe = yaml.safe_load((FAKES / "faulty.yaml").read_text())
    pattern = rf"^(?P<id>\d+)\|(?P<state>\w+)\|(?P<exit_code>\d*)\|(?P<key>[^|\n]*)\|(?P<reason>none\b|[A-Z]+\b|{SLOW})"
    recipe["status"] |= {"run": f"faulty list; cat {tmp_path}/beside", "output": {"regex": pattern}, "timeout": 30}
    pool = make_pool("bounds-output", recipe)

    with start_worker(pool.name, env=site) as worker:
        for shown, said in FLOODS.values():
            before = len(worker.log.read_text())
            (tmp_path / "beside").write_text(shown)
            run = pool.run(command="true")
            until(lambda before=before, said=said: said in worker.log.read_text()[before:], 90)
            other = pool.run(command="true")
            pool.job(other)
            (tmp_path / "beside").write_text("")
            assert {pool.ended(one, 90).name for one in (run, other)} == {"Crashed"}  # it ended, and never reported
        peak = next(line for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines() if "VmHWM" in line)
        assert int(peak.split()[1]) < MOST


def test_no_value_of_a_deployment_keeps_a_worker_from_serving_others(hardened, start_worker):
    pool = hardened("process", "bounds-values")
    env = {"LINK": f"://{120_000 * ':'}", "JOIN": 30_000 * "eyJ-"}

    with start_worker(pool.name):
        run, other = pool.run(command="true", env=env), pool.run(command="true")
        for one in (other, run):
            assert pool.ended(one, 90).name == "Crashed"  # it ended well, and never reported


def test_a_deployment_has_no_file_read_and_no_line_break_pass(make_pool, start_worker, tmp_path):
    from generic_worker.library.loading import load  # noqa: PLC0415 - after the server's settings
    from generic_worker.library.template import base_job_template  # noqa: PLC0415 - as above

    own = {"extends": "process", "name": "narrow", "variables": {"mode": {"type": "string", "pattern": "^[a-z]+$"}}}
    template = base_job_template(load(own))
    template["job_configuration"]["recipe"] |= {"extends": "{{ recipe }}"}
    template["variables"]["properties"]["recipe"] = {"type": "string", "default": "process"}
    pool = make_pool("bounds-recipe", template=template)
    (tmp_path / "secret.yaml").write_text("password: kept-to-itself\n")

    with start_worker(pool.name) as worker:
        files = [str(tmp_path / "secret.yaml"), "../process", "/proc/self/environ", "process\n"]
        runs = [pool.run(command="true", recipe=file) for file in files]
        narrow = pool.run(command="true", mode="fast\n")
        proper = pool.run(command="true", mode="fast", recipe="process")

        for run in runs:
            assert "recipe: a deployment can choose a recipe by its name only." in pool.ended(run).message
            assert "kept-to-itself" not in pool.logs(run)
        assert r"'fast\n' does not match '^[a-z]+$'" in pool.ended(narrow).message
        assert "never reported its own end" in pool.ended(proper).message
        assert "kept-to-itself" not in worker.log.read_text()
