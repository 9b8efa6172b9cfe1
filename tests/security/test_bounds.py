"""Whatever is printed and whatever a deployment gives, the worker goes on serving everybody else."""

import asyncio
import os
import re
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


RECORD = """yes '{"id": "4711", "state": "R", "key": "pf-1", "exit": NaN},'"""
REASON = """printf '{"id": "4711", "state": "%s", "key": "pf-1", "exit": NaN, "reason": "\\\\ud83d\\\\u0000'"""
CUT = "it did not end by itself, or printed too much"
DOCUMENTS = {  # what a status command prints, and what is said of it
    "many records": (f"echo '['; {RECORD} | head -c 40000000; echo 1]", CUT),
    "records in records": (f"echo '[[[[['; {RECORD} | head -c 40000000; echo 1]]]]]", CUT),
    "a deep document": ("yes '[' | head -c 40000000; yes ']' | head -c 40000000", CUT),
    "a giant text": (f"{REASON % 'R'}; yes | tr -d '\\n' | head -c 40000000; echo '\"}}'", CUT),
    "no numbers": ("echo '['; yes NaN, | head -c 40000000; echo 1]", CUT),
    "an answer that is cut off": (f"echo '['; {RECORD} | head -c 5000000", "not JSON ("),
    "more records than are read": (f"echo '['; {RECORD} | head -c 8000000; echo 1]", "it has more than 100000 records"),
    "more in a few": ("echo '[[[[['; yes '[],' | head -c 8000000; echo 1]]]]]", "it has more than 500000 lists and m"),
    "a document that is too deep": ("yes '[' | head -c 400000; yes ']' | head -c 400000", "not JSON ("),
    "words": ("yes ab | tr '\\n' ' ' | head -c 8000000", "not JSON ("),
}


def peak_of_memory(kind):
    """KiB of this process: `VmRSS` now, `VmHWM` at the most since it was last set back."""
    return int(re.search(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


@pytest.fixture
def ask():
    """What is concluded about the job 4711 of which a status command prints something: ask(script)."""
    from generic_worker.commands.rendering import job_values  # noqa: PLC0415 - after the server's settings
    from generic_worker.commands.runner import CommandRunner  # noqa: PLC0415 - as above
    from generic_worker.job import Job  # noqa: PLC0415 - as above
    from generic_worker.jobs.driver import Driver  # noqa: PLC0415 - as above
    from generic_worker.library.loading import load  # noqa: PLC0415 - as above

    fields = {"id": "id", "state": "state", "key": "key", "exit_code": "exit", "reason": "reason"}
    about = {"job_key": "pf-1", "job_name": "x", "command": "x", "env": {"API_TOKEN": "s3cret-token"}, "labels": {}}

    def asked(script):
        recipe = load(
            {
                "recipe": 1,
                "name": "printing",
                "submit": {"run": "true", "output": {"columns": ["id"]}},
                "status": {"run": f"{script}  # $job_ids", "output": {"json": "$", "fields": fields}},
                "cancel": {"run": ["true"]},
                "states": {"running": ["R"], "finished": ["CD"]},
            }
        ).recipe
        job = Job("pf-1", job_values(recipe, {}, about), "printing", id="4711")
        report = asyncio.run(Driver(recipe, CommandRunner()).status([job]))
        return report.statuses[job], report.trouble

    return asked


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_is_concluded_from_json_that_is_too_much(ask, name):
    script, said = DOCUMENTS[name]
    Path("/proc/self/clear_refs").write_text("5")  # the peak is set back to what there is now
    before = peak_of_memory("VmRSS")

    status, trouble = ask(script)

    assert (status.state.value, trouble[: len(said) + 18]) == ("unknown", f"printing: status: {said}")
    assert len(trouble) < 10_000
    assert peak_of_memory("VmHWM") - before < MOST / 4


def test_a_reason_is_no_longer_than_anybody_reads_and_is_text(ask):
    printed = f"{REASON % 'CD'}; printf s3cret-token; yes | tr -d '\\n' | head -c 3000000; echo '\"}}'"

    status, trouble = ask(printed)

    assert (status.state.value, status.exit_code, trouble) == ("finished", None, "")
    assert status.reason == f"\ufffd\ufffd********{4086 * 'y'}..."


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
            assert {pool.ended(one).name for one in (run, other)} == {"Crashed"}  # it ended, and never reported
        peak = next(line for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines() if "VmHWM" in line)
        assert int(peak.split()[1]) < MOST


def test_no_value_of_a_deployment_keeps_a_worker_from_serving_others(hardened, start_worker):
    pool = hardened("process", "bounds-values")
    env = {"LINK": f"://{120_000 * ':'}", "JOIN": 30_000 * "eyJ-"}

    with start_worker(pool.name):
        run, other = pool.run(command="true", env=env), pool.run(command="true")
        for one in (other, run):
            assert pool.ended(one).name == "Crashed"  # it ended well, and never reported


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
