"""A pid is a claim: whoever may update a flow run may write into it what they like."""

import os
import socket
import subprocess
from urllib.parse import quote

from prefect.states import Completed, Pending

from generic_worker.commands.rendering import worker_user

HERE = quote(f"{worker_user()}@{socket.gethostname()}")
"""Where jobs of this host's worker live."""


def claimed(pool, pid):
    """A flow run that ended by itself while no worker was there, and that claims a job."""
    run = pool.run()
    pool._call(lambda client: client.update_flow_run(run, infrastructure_pid=pid.format(key=f"pf-{run.hex}-0")))
    for state in (Pending(), Completed()):
        pool.set_state(run, state)
    return run


def test_a_directory_is_not_removed_because_a_pid_names_it(hardened, start_worker, tmp_path, until):
    victim = tmp_path / "victim"
    victim.mkdir()
    pool = hardened("process", "claims-directory")
    claimed(pool, f"process://{HERE}/1-1-1?key={quote(str(victim), safe='')}")
    claimed(pool, f"process://{HERE}/1-1-1?key={quote('../../../../../' + str(victim), safe='')}")
    real = claimed(pool, f"process://{HERE}/1-1-1?key={{key}}")

    with start_worker(pool.name):
        pool.ended(pool.run(command="true"))  # which makes the directory that the status command looks into
        until(lambda: "cleaned=1" in pool.read(real).infrastructure_pid, 120)

    assert victim.exists()


def test_a_strangers_container_is_not_removed_because_a_pid_names_it(hardened, service, start_worker, until):
    pool, env, host = hardened("podman", "claims-container"), service("podman"), HERE

    def podman(*arguments):
        run = ["podman", *arguments]
        return subprocess.run(run, env=os.environ | env, capture_output=True, text=True, check=True).stdout.strip()

    container = podman("run", "--detach", "--rm", "localhost/busybox", "sleep", "300")
    try:
        for name in (container, container[:12], "--all"):
            claimed(pool, f"podman://{host}/{name}?key={{key}}")
        other = claimed(pool, f"podman://{host}/{64 * '0'}?key={{key}}")

        with start_worker(pool.name, env=env) as worker:
            until(lambda: "cleaned=1" in pool.read(other).infrastructure_pid, 120)
            until(lambda: worker.log.read_text().count("is not one that was written for this flow run") >= 2, 60)

        assert container in podman("ps", "--quiet", "--no-trunc")
    finally:
        podman("rm", "--force", "--time=0", container)
