"""The longest time for which the event loop stands still, whatever a command prints.

python tests/benchmarks/bounds.py
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time

from generic_worker.commands.rendering import job_values
from generic_worker.commands.runner import CommandRunner
from generic_worker.errors import GenericWorkerError
from generic_worker.job import Job
from generic_worker.jobs.driver import Driver
from generic_worker.library.loading import load

LINES = "yes '4711|R|pf-1|x' | head -c 40000000"
CASES = {
    "40 MB of status lines": ({"columns": ["id", "state"], "separator": "|"}, LINES),
    "40 MB of status lines, by pattern": ({"regex": r"^(?P<id>\d+)\|(?P<state>\w+)\|(?P<key>[^|]*)\|"}, LINES),
    "40 MB in one line": ({"columns": ["id", "state"]}, "head -c 40000000 /dev/zero | tr '\\0' a"),
    "40 MB of blank lines": ({"json": "$", "fields": {"id": "a", "state": "b"}}, "yes '' | head -c 40000000; echo x"),
    "8 MB of JSON": (
        {"json": "$[*]", "fields": {"id": "a", "state": "b"}},
        'echo \'[\'; yes \'{"a": "4711", "b": "R"},\' | head -c 8000000; echo \'{}]\'',
    ),
    "8 MB of JSON, as many records as are read": (
        {"json": "$[*]", "fields": {"id": "a", "state": "b"}},
        f"""echo '['; yes '{{"a": "4711", "b": "R", "c": "{"x" * 60}"}},' | head -c 8000000; echo '{{}}]'""",
    ),
    "8 MB of JSON in a few lists": (
        {"json": "$", "fields": {"id": "a", "state": "b"}},
        "echo '[[[[['; yes '[],' | head -c 8000000",
    ),
    "8 MB of JSON deep inside": (
        {"json": "$", "fields": {"id": "a", "state": "b"}},
        """echo '[[[[[{"a":'; yes '"b",' | head -c 8000000 | sed '1s/^/[/'; echo '"c"]}]]]]]'""",
    ),
    "8 MB of names": (
        {"json": "$", "fields": {"id": "a", "state": "b"}},
        """echo '{"a": [[[[[{'; seq 700000 | sed 's/.*/"&":0,/'; echo '"x": 0}]]]]]}'""",
    ),
    "a text of 8 MB in JSON": (
        {"json": "$", "fields": {"id": "a", "state": "b", "reason": "c"}},
        """printf '{"a": "4711", "b": "R", "c": "'; yes | tr -d '\\n' | head -c 8000000; echo '"}'""",
    ),
    "a structure as a field": (
        {"json": "$", "fields": {"id": "a", "state": "b", "reason": "c"}},
        """printf '{"a": "4711", "b": "R", "c": ['; yes '"ab",' | head -c 590000; echo '1]}'""",
    ),
    "8 MB of words beside the lines": (
        {"columns": ["id", "state"], "separator": "|"},
        "echo '1|R'; yes ab | head -c 8000000",
    ),
    "8 MB of blank lines beside the lines": (
        {"columns": ["id", "state"], "separator": "|"},
        "echo '1|R'; yes '' | head -c 8000000",
    ),
    "a pattern that takes years": ({"regex": "(?P<id>4)(?P<state>R)|(?:a|aa)+$"}, f"echo {'a' * 100}!"),
    "40 MB of refusal": ({"columns": ["id", "state"]}, f"{LINES} >&2; exit 1"),
}


def recipe(output: dict[str, object], script: str) -> dict[str, object]:
    return {
        "recipe": 1,
        "name": "printing",
        "submit": {"run": script, "output": {"columns": ["id"]}, "refused": "(?:4|71)+1$"},
        "status": {"run": f"{script}  # $job_ids", "output": output},
        "cancel": {"run": ["true"]},
        "states": {"running": ["R"], "finished": ["CD"]},
    }


async def longest_pause(work) -> float:
    task, longest, before = asyncio.ensure_future(work), 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return longest


async def measure(output: dict[str, object], script: str) -> tuple[float, float]:
    driver = Driver(load(recipe(output, script)).recipe, CommandRunner())
    about = {"job_key": "pf-1", "job_name": "x", "command": "x", "env": {"API_TOKEN": "s3cret-token"}, "labels": {}}
    job = Job("pf-1", job_values(driver.recipe, {}, about), "printing", id="4711")

    async def submit() -> None:
        with contextlib.suppress(GenericWorkerError):
            await driver.try_submit(job)

    return await longest_pause(driver.status([job])), await longest_pause(submit())


for name, case in CASES.items():
    status, submit = asyncio.run(measure(*case))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name}: {1000 * status:.0f} ms (status), {1000 * submit:.0f} ms (submit); {peak:.0f} MiB so far")
