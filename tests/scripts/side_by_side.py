"""One script, two decorators: side_by_side.py DECORATOR POOL RESULTS OPTIONS prints what came back from containers."""

import json
import sys
from importlib import import_module

from prefect import flow
from prefect.filesystems import LocalFileSystem

decorator, pool, results, options = sys.argv[1:]
module, _, name = decorator.partition(":")
in_a_container = getattr(import_module(module), name)
storage = LocalFileSystem(basepath=results)
storage.save("side-by-side", overwrite=True)


@in_a_container(work_pool=pool, launcher={"execution": [sys.executable]}, **json.loads(options))
@flow(persist_result=True, result_storage=storage)
def add(x, y):
    return x + y


future = add.submit(1, 2)
print(json.dumps({"called": add(40, y=2), "submitted": future.result()}))
