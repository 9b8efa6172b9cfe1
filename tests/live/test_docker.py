"""Flow runs in Docker containers, through a real Prefect server and a worker process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect import flow

import generic_worker
from generic_worker import generic
from generic_worker.library.loading import load
from generic_worker.library.template import base_job_template
from generic_worker.worker import background

PACKAGE = str(Path(generic_worker.__file__).parents[1])
"""Where this package is: a checkout, perhaps."""
SECRET = "two lines\nof a s3cret"


@pytest.fixture(scope="module")
def dockerd(backends):
    """A Docker daemon: the environment variables that its clients need."""
    return backends("dockerd")


@pytest.fixture(scope="module")
def volumes(server):
    """What makes of the one image a container with this host's programs, this Python, and Prefect."""
    shared = [f"/{name}" for name in ("usr", "lib", "lib64", "bin", "etc")]
    shared += [path for path in dict.fromkeys((sys.base_prefix, sys.prefix, PACKAGE)) if not path.startswith("/usr")]
    return [*(f"{path}:{path}:ro" for path in shared), f"{server.home}:{server.home}"]


@pytest.fixture(scope="module")
def pool(server, dockerd, make_pool, volumes):
    """A pool whose containers have these volumes, whatever a deployment wants."""
    template = base_job_template(load("docker"))
    template["job_configuration"]["variables"] |= {
        "image": "hostfs",
        "image_pull_policy": "never",
        "network": "host",
        "volumes": volumes,
        "docker_options": ["--stop-timeout=1"],
        "working_dir": f"{server.home}/{{{{ place }}}}",
    }
    template["variables"]["properties"]["place"] = {"type": "string", "default": "."}
    return make_pool("docker", template=template)


def containers(dockerd, server):
    """Those of flow runs of this server: there may be others'."""
    mine = ["--filter=label=prefect-generic-worker.key", f"--filter=volume={server.home}"]
    command = ["docker", "ps", "--all", "--quiet", *mine]
    return subprocess.run(command, env={**os.environ, **dockerd}, capture_output=True, text=True, check=True).stdout


def inspected(dockerd, container):
    command = ["docker", "inspect", container]
    shown = subprocess.run(command, env={**os.environ, **dockerd}, capture_output=True, text=True, check=True).stdout
    return json.loads(shown)[0]


def test_flow_runs_complete_fail_and_are_cancelled_in_containers_that_are_removed(
    pool, dockerd, start_worker, server, until
):
    flow = f"{sys.executable} -m prefect flow-run execute"
    dump = server.home / "dump"
    (server.home / "place").mkdir()
    with start_worker(pool.name, env=dockerd):
        completed = pool.run({"dump": str(dump)}, command=flow, env={"API_TOKEN": SECRET})
        failed = pool.run(command=f"{sys.executable} -c 'import no_such_module'")
        refused = pool.run(command="/no/such/command")
        changed = {"memory": "64m", "network": "none", "place": "place"}  # left open, hard-coded, and mixed in the pool
        cancelled = pool.run(command="sh -c 'while :; do sleep 1; done'", **changed)

        assert pool.ended(completed, 120).name == "Completed", pool.logs(completed)
        assert f"API_TOKEN={SECRET}" in dump.read_text().split("\0")
        assert pool.ended(failed).message == f"The docker job {pool.job(failed).id} ended as exited, exit code 1."
        until(lambda: "ModuleNotFoundError: No module named 'no_such_module'" in pool.logs(failed), 60)
        assert pool.ended(refused).name == "Crashed"
        assert 'exec: "/no/such/command"' in pool.read(refused).state.message

        assert pool.job(cancelled).id[:12] in containers(dockerd, server)
        container = inspected(dockerd, pool.job(cancelled).id)
        limits = container["HostConfig"]
        assert (limits["Memory"], limits["NetworkMode"], limits["NanoCpus"]) == (64 * 2**20, "host", 0)
        assert container["Config"]["WorkingDir"] == f"{server.home}/place"
        assert (container["Config"]["User"], limits["DeviceRequests"]) == ("", None)
        pool.cancel(cancelled)
        assert pool.ended(cancelled).name == "Cancelled"
        until(lambda: containers(dockerd, server) == "", 90)


@flow
def add(x, y):
    """Add two numbers in a container."""
    return x + y


def test_a_flow_that_is_called_runs_in_a_container_and_its_result_comes_back(pool, dockerd, server, monkeypatch):
    for name, value in dockerd.items():
        monkeypatch.setenv(name, value)
    pool.store_in(server.home / "bundles")
    in_a_container = generic(work_pool=pool.name, launcher={"execution": [sys.executable]})(add)

    assert in_a_container(40, y=2) == 42
    background._end()
    (run,) = [run for run in pool.runs() if run.deployment_id is None]
    assert run.infrastructure_pid.startswith("docker://")


@pytest.fixture
def prefect_docker(server, dockerd):
    """Prefect's own worker for Docker, in a folder of its own: installed here, Prefect would load it everywhere.

    Its containers stay, as it comes, and so do ours when a script ends with its flow.
    """
    folder = server.home / "prefect-docker"
    words = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *words, "prefect-docker==0.7.4", "docker==7.2.0"], check=True)
    yield folder
    env = {**os.environ, **dockerd}
    words = ["docker", "ps", "--all", "--quiet", f"--filter=volume={server.home}"]
    left = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["docker", "rm", "--force", "--volumes", *left], env=env, capture_output=True, check=True)


@pytest.mark.timeout(1200)  # three scripts, one after the other
def test_a_script_does_the_same_with_the_decorator_of_prefects_own_worker_for_docker(
    pool, dockerd, server, volumes, prefect_docker
):
    pool.store_in(server.home / "bundles")
    script, results = Path(__file__).parents[1] / "scripts" / "side_by_side.py", server.home / "results"
    there = {"PYTHONPATH": str(prefect_docker)}
    options = {"image": "hostfs", "image_pull_policy": "Never", "network_mode": "host", "volumes": volumes}
    options["env"] = there  # its flows need its decorator in the container; ours need nothing of ours

    def python(*words, **more):
        call, env = [sys.executable, *words], {**server.env, **dockerd, **more}
        done = subprocess.run(call, env=env, capture_output=True, text=True, timeout=350, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ours = python(script, "generic_worker:generic", pool.name, results, "{}")
    python("-m", "prefect", "work-pool", "create", "containers", "--type", "docker", **there)
    theirs = python(script, "prefect_docker.decorators:docker", "containers", results, json.dumps(options), **there)

    assert json.loads(ours) == {"called": 42, "submitted": 3}
    assert theirs.splitlines()[-1:] == ours.splitlines()  # before it stands what the containers have printed
