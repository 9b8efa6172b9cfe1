"""Where this worker is measured beside a peer: the scheduler, what both are told, and how their calls are counted.

Started as a program, `peer_sites.py LISTEN TARGET CALLS`, it stands between a Docker client and its daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distributions
from pathlib import Path

REQUEST_RE = re.compile(rb"(DELETE|GET|HEAD|POST|PUT) (?:/v[\d.]+)?/(\S+?)(?:\?\S*)? HTTP/1\.1\r\n")
ID_RE = re.compile(r"[0-9a-f]{12,}")
MINUTES = 10  # no job is left for longer, whatever happens to the benchmark


class Absent(Exception):
    """What is needed for a measurement is not here."""


def backend(name: str) -> dict[str, str]:
    """The environment in which a backend's commands work, from the file that its start script wrote."""
    folder = os.environ.get("GENERIC_WORKER_TEST_BACKENDS")
    script = Path(folder, name, "env.sh") if folder else None
    if script is None or not script.is_file():
        raise Absent(f"no {name}; start it with tests/live/backends/{name}.sh, and see CONTRIBUTING.md")
    words = ["/bin/sh", "-c", f". {shlex.quote(str(script))} && env -0"]
    shown = subprocess.run(words, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, text=True, check=True)
    pairs = (entry.split("=", 1) for entry in shown.stdout.split("\0") if "=" in entry)
    return {key: value for key, value in pairs if key not in {"PWD", "_", "SHLVL", "OLDPWD"}}


class Slurm:
    """Slurm, and `prefect-slurm-worker`."""

    name, peer, version, kind, recipe = "Slurm", "prefect-slurm-worker", "0.11.1", "slurm-worker", "slurm"
    sent = "commands sent to Slurm"
    poll, polls = 15, "both with poll 15 s"  # the peer comes with 30 s, and asks half as often then
    commands = ("sbatch", "squeue", "scontrol", "sacct", "scancel")

    def __init__(self) -> None:
        self.env = backend("slurm")

    def variables(self, kind: str) -> dict:
        """What the runs of a worker are told besides their command."""
        if kind == self.kind:
            return {"time_limit": MINUTES, "update_interval_sec": self.poll}
        return {"time_limit": str(MINUTES)}

    @contextlib.contextmanager
    def counted(self, calls: Path):
        """The environment for a worker whose every call of a Slurm command is a line of a file."""
        folder = calls.with_suffix(".bin")
        folder.mkdir()
        for name in self.commands:
            wrapper = folder / name
            wrapper.write_text(f'#!/bin/sh\necho {name} >>{calls}\nexec {shutil.which(name)} "$@"\n')
            wrapper.chmod(0o755)
        yield {**self.env, "PATH": f"{folder}:{os.environ['PATH']}"}

    def clean(self, home: Path) -> None:
        """End the jobs of a benchmark that was interrupted."""
        env = {**os.environ, **self.env}
        words = ["squeue", "--me", "--noheader", "--format=%i %Z"]
        shown = subprocess.run(words, env=env, stdout=subprocess.PIPE, text=True, check=True)
        jobs = [line.split()[0] for line in shown.stdout.splitlines() if line.endswith(f" {home}")]
        if jobs:
            subprocess.run(["scancel", *jobs], env=env, check=False)


class Docker:
    """A Docker daemon, and `prefect-docker`."""

    name, peer, version, kind, recipe = "dockerd", "prefect-docker", "0.7.4", "docker", "docker"
    sent = "requests to dockerd"
    polls = "poll 15 s and events beside a connection held for each job"

    def __init__(self) -> None:
        self.env = backend("dockerd")
        self.mounts = [word for word in self.env.pop("HOSTFS").split() if word != "-v"]

    def variables(self, kind: str) -> dict:
        """What the runs of a worker are told besides their command: here the same, by different names."""
        home = os.environ["PREFECT_HOME"]
        same = {"image": "hostfs", "volumes": [*self.mounts, f"{home}:{home}"]}
        if kind == self.kind:
            return {**same, "image_pull_policy": "Never", "network_mode": "host"}
        return {**same, "image_pull_policy": "never", "network": "host"}

    @contextlib.contextmanager
    def counted(self, calls: Path):
        """The environment for a worker whose every request to the daemon is a line of a file."""
        socket, daemon = calls.with_suffix(".socket"), self.env["DOCKER_HOST"].removeprefix("unix://")
        relay = subprocess.Popen([sys.executable, __file__, socket, daemon, calls])
        try:
            while not socket.exists():
                time.sleep(0.1)
            yield {"DOCKER_HOST": f"unix://{socket}"}
        finally:
            relay.terminate()
            relay.wait()

    def clean(self, home: Path) -> None:
        """Remove the containers: the peer leaves its own where they are, as it comes."""
        env = {**os.environ, **self.env}
        words = ["docker", "ps", "--all", "--quiet", f"--filter=volume={home}"]
        shown = subprocess.run(words, env=env, stdout=subprocess.PIPE, text=True, check=True)
        if shown.stdout:
            words = ["docker", "rm", "--force", "--volumes", *shown.stdout.split()]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run(words, env=env, check=False, **quiet)  # a worker may be removing some of them


SITES = (Slurm, Docker)


@contextlib.contextmanager
def peers():
    """Install the peers into an environment of their own; gives a function that waits for its Python.

    With all that both use of the same version as here, and without this worker, which Prefect would load there too.
    """
    with tempfile.TemporaryDirectory(prefix="generic-worker-peers-") as folder:
        place = Path(folder)
        (place / "same.txt").write_text("".join(f"{one.name}=={one.version}\n" for one in distributions()))
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
        python = place / "bin" / "python"
        words = [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "-c", place / "same.txt"]
        words += [f"{site.peer}=={site.version}" for site in SITES]
        installing = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        def ready() -> Path:
            _, said = installing.communicate()
            if installing.returncode:
                last = said.strip().splitlines()[-1:]
                raise Absent(f"pip cannot install {', '.join(words[-len(SITES) :])}: {''.join(last)}")
            return python

        try:
            yield ready
        finally:
            installing.kill()
            installing.wait()


async def relay(listen: str, target: str, calls: str) -> None:
    """Pass everything on between a daemon and its clients, and write down each request."""

    async def passing(reader, writer, file=None):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                # a client waits for the answer before its next request: one begins where a piece begins
                if file and (request := REQUEST_RE.match(data)):
                    file.write(f"{request[1].decode()} {ID_RE.sub('ID', request[2].decode())}\n")
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def serve(reader, writer):
        serving.add(asyncio.current_task())  # nothing else keeps it when one end is gone
        far_reader, far_writer = await asyncio.open_unix_connection(target)
        try:
            await asyncio.gather(passing(reader, far_writer, file), passing(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()
            serving.discard(asyncio.current_task())

    serving = set()
    with open(calls, "a", buffering=1) as file:  # noqa: ASYNC230, PTH123 - as quick as can be
        async with await asyncio.start_unix_server(serve, listen) as server:
            await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(relay(*sys.argv[1:]))
