"""Flows as people send them: send.py POOL WAY [VARIABLES], with job variables as JSON. It prints what comes back."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from prefect import flow

from generic_worker import generic

pool, way = sys.argv[1:3]
variables = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}


@generic(work_pool=pool, **variables)
@flow
def add(x, y, seconds=0, gate=""):
    time.sleep(seconds)
    deadline = time.monotonic() + 300
    while gate and not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return x + y


@generic(work_pool=pool, **variables)
@flow
async def multiply(x, y):
    await asyncio.sleep(0)
    return x * y


@generic(work_pool=pool, include_files=["greeting.txt", "tools/*.sh"], **variables)
@flow
def greet(name):
    Path("written.txt").write_text(name)
    shouted = os.popen("tools/shout.sh").read().strip()
    return Path("greeting.txt").read_text().strip(), shouted, str(Path.cwd())


@generic(work_pool=pool, **variables)
@flow
def increment(x):
    return add(x, 1)


def submitted(number):
    takes = {"seconds": float(os.environ.get("SECONDS", "0")), "gate": os.environ.get("GATE", "")}
    return [add.submit(1, each, **takes) for each in range(number)]


def answer():
    if way == "call":
        return add(40, y=2)
    if way == "each":
        return {"async": asyncio.run(multiply(6, 7)), "files": greet("Ada"), "nested": increment(41)}
    if way == "submit":
        return [future.result() for future in submitted(10)]
    if way == "pool":
        return add.submit_to_work_pool(40, 2).result()
    return [str(future.flow_run_id) for future in submitted(3)]


print(json.dumps(answer()), flush=True)
if way == "hold":
    time.sleep(600)
