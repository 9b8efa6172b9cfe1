"""One of two workers that are measured beside each other: its work pool, its flow runs, and jobs that end when told."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from dataclasses import dataclass

from measure import Deployment, Worker, cpu
from peer_sites import MINUTES

JOB = f"""
gate=$1/$PREFECT__FLOW_RUN_ID
mkfifo "$gate"
timeout {MINUTES * 60} head -c 1 "$gate" >/dev/null
: >"$gate.end"
exit 3
"""


@dataclass
class Usage:
    """What a worker has used and sent so far, its commands included."""

    seconds: float
    processor: float
    calls: dict[str, int]

    def since(self, other: Usage) -> Usage:
        calls = Counter(self.calls) - Counter(other.calls)
        return Usage(self.seconds - other.seconds, self.processor - other.processor, dict(calls))

    @property
    def sent(self) -> int:
        return sum(self.calls.values())


class Side:
    """One of the two workers on a scheduler, with its flow runs.

    Args:
        server: The Prefect server.
        site: The scheduler.
        kind: The worker type.
        python: The Python that has it installed.
        stack: Ends what is started here.
    """

    def __init__(self, server, site, kind: str, python, stack) -> None:
        from generic_worker.library.loading import load  # noqa: PLC0415 - after the server's settings
        from generic_worker.library.template import base_job_template  # noqa: PLC0415 - as above

        name = f"{site.recipe}-{kind}"
        self.kind, self.runs, self.found = kind, {}, {}
        self._gates, self._calls, job = (server.home / f"{name}.{what}" for what in ("gates", "calls", "job"))
        self._gates.mkdir()
        self._calls.touch()
        job.write_text(JOB)
        self._variables = {"command": f"sh {job} {self._gates}", **site.variables(kind)}
        template = base_job_template(load(site.recipe)) if kind == "generic" else None
        self._pool = Deployment(server, name, kind, template)
        env = stack.enter_context(site.counted(self._calls))
        self.worker = Worker(server, name, kind, python=str(python), env=env)  # started alike, by Prefect's own command

    def submit(self, number: int) -> None:
        self.runs |= self._pool.runs(number, lambda _: self._variables)

    def submitted(self) -> bool:
        # not by their names: among so many flow runs, two are called the same now and then
        log = self.worker.log.read_text(errors="replace")
        return log.count("submitted to infrastructure") + log.count("Submitted as") == len(self.runs)

    def usage(self) -> Usage:
        return Usage(time.monotonic(), sum(cpu(self.worker.pid)), Counter(self._calls.read_text().splitlines()))

    def running(self) -> list[str]:
        return [run for run in self.runs if (self._gates / run).exists() and not self.end(run)]

    def end(self, run: str) -> float:
        """When a job has ended, or 0."""
        try:
            return (self._gates / f"{run}.end").stat().st_mtime
        except FileNotFoundError:
            return 0

    def let_go(self, run: str) -> None:
        with contextlib.suppress(OSError):  # it does not wait yet, or not any more
            gate = os.open(self._gates / run, os.O_WRONLY | os.O_NONBLOCK)
            os.write(gate, b".")
            os.close(gate)

    def noticed(self, runs) -> list[float]:
        """Seconds from the end of a job to its Crashed flow run, of those that are Crashed."""
        found = [run.state for run in self._pool.read(runs) if run.state.is_crashed() and self.end(str(run.id))]
        ends = [self.end(str(state.state_details.flow_run_id)) for state in found]
        return sorted(state.timestamp.timestamp() - end for state, end in zip(found, ends, strict=True))

    def states(self, runs) -> dict[str, int]:
        return dict(Counter(run.state.name for run in self._pool.read(runs)))

    def kill_and_start(self) -> None:
        self.worker.kill()
        self.worker.log.rename(self.worker.log.with_suffix(".killed"))
        self.worker.start()
