"""What this package adds to the start of programs: `prefect worker start` with it and without; its own command."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from figures import Figure
from measure import Deployment, main, median, prefect_server

ROUNDS = 20
PREFECT = "from prefect.cli import app; app()"
HIDDEN = """
import importlib.metadata as metadata
found = metadata.entry_points
metadata.entry_points = lambda **which: [
    one for one in found(**which) if not one.value.startswith("generic_worker")
] if which.get("group") == "prefect.collections" else found(**which)
"""
OURS = "from generic_worker.cli.main import main; main()"


def once(code: str, words: list[str], env: dict[str, str], until: bytes = b"") -> tuple[float, float]:
    """Run a program to its end, or until it prints something; processor seconds and seconds."""
    begin = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        seen = b""
        for line in process.stdout:
            seen += line
            if until and until in line:
                break
        else:
            if until:
                raise RuntimeError(seen.decode())
        wall = time.monotonic() - begin
        if until:
            process.kill()
            process.stdout.close()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode and not until:
            raise RuntimeError(seen.decode())
    return used.ru_utime + used.ru_stime, wall


def measure() -> list[Figure]:
    with prefect_server() as server:
        from generic_worker.worker.worker import GenericWorker  # noqa: PLC0415 - after the server's settings

        Deployment(server, "process", "process")
        Deployment(server, "generic", "generic", GenericWorker.get_default_base_job_template())
        start, begun = ["worker", "start", "--type"], b"started!"
        cases = {
            "nothing": (HIDDEN + PREFECT, ["--version"]),
            "help": (OURS, ["--help"]),
            "check": (OURS, ["check", "slurm"]),
            "without": (HIDDEN + PREFECT, [*start, "process", "--pool", "process"], begun),
            "beside": (PREFECT, [*start, "process", "--pool", "process"], begun),
            "generic": (PREFECT, [*start, "generic", "--pool", "generic"], begun),
        }
        found = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, (code, words, *until) in cases.items():
                found[name].append(once(code, words, server.env, *until))
    spent = {name: median(one for one, _ in times) for name, times in found.items()}
    wall = {name: median(one for _, one in times) for name, times in found.items()}
    raw = {"processor": spent, "wall": wall}

    def row(what: str, name: str, base: str, called: str, goal: str = "", most: float = 0) -> Figure:
        ratio = spent[name] / spent[base]
        ours = f"{spent[name]:.2f} s of processor time, {wall[name]:.2f} s"
        beside = f"{spent[base]:.2f} s, {wall[base]:.2f} s for {called}: {100 * (ratio - 1):+.0f} %"
        return Figure(what, ours, beside, goal, ratio <= most if most else None, raw)

    return [
        row("`generic-worker --help`", "help", "nothing", "`prefect --version`"),
        row("`generic-worker check slurm`", "check", "nothing", "`prefect --version`"),
        row(
            "`prefect worker start --type process`, this package installed",
            "beside",
            "without",
            "the same without it",
            "at most 3 % more",
            1.03,
        ),
        row(
            "`prefect worker start --type generic`",
            "generic",
            "without",
            "`--type process` without this package",
            "at most 10 % more",
            1.1,
        ),
    ]


if __name__ == "__main__":
    main(measure)
