"""The image of recipes/operating/Dockerfile, built and run by a real dockerd.

Its base is no image of a registry, as none may be at hand: `backends/debian-image.sh` makes it of Debian's packages. A
network of its own cannot be had everywhere either, so that builds and containers share the host's.
"""

import os
import subprocess
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ["pyproject.toml", "constraints.txt", "README.md", "LICENSE", "generic_worker", "recipes"]


@pytest.fixture
def docker(backends):
    """Calls docker: docker(*arguments) returns what it printed; the base's name is `docker.base`."""
    env = {**os.environ, **backends("debian-image"), "DOCKER_BUILDKIT": "0"}

    def call(*arguments, **options):
        ran = subprocess.run(["docker", *arguments], env=env, capture_output=True, check=False, **options)
        assert ran.returncode == 0, (ran.stdout + ran.stderr).decode()
        return ran.stdout.decode().strip()

    call.base = env["GENERIC_WORKER_TEST_BASE"]
    return call


@pytest.fixture
def image(docker):
    """The image, with the command line of Task Spooler added."""
    name = f"generic-worker-test:{uuid.uuid4().hex[:8]}"
    context = subprocess.run(["tar", "-c", *SOURCE], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    arguments = ["--build-arg", f"BASE={docker.base}", "--build-arg", "CLI=task-spooler"]
    docker("build", "--network=host", "-f", "recipes/operating/Dockerfile", "-t", name, *arguments, "-", input=context)
    yield name
    docker("image", "rm", "--force", name)


@pytest.fixture
def start(docker, image, server):
    """Starts a worker of a pool in a container, and returns the container's id."""
    started = []

    def run(pool):
        settings = [f"--env={name}={value}" for name, value in server.env.items() if name.startswith("PREFECT_WORKER_")]
        settings += [f"--env=PREFECT_API_URL={server.env['PREFECT_API_URL']}"]
        flows = f"--volume={server.home}/flows:{server.home}/flows:ro"
        options = ["--detach", "--network=host", *settings, flows]
        started.append(docker("run", *options, image, "--pool", pool.name, "--name", "in-a-container"))
        return started[-1]

    yield run
    for container in started:
        docker("rm", "--force", "--volumes", container)


@pytest.mark.timeout(900)  # the build installs Debian packages and Prefect
def test_the_image_runs_flows_with_the_command_line_that_was_added_and_not_as_root(docker, make_pool, start, until):
    pool = make_pool("image", "task-spooler")
    run, crashing = pool.run(), pool.run(command="sh -c 'exit 3'")
    container = start(pool)

    assert pool.ended(run, 200).name == "Completed"
    assert pool.ended(crashing, 100).message.endswith("exit code 3.")
    assert docker("exec", container, "id", "-u") == "10001"
    assert docker("exec", container, "cat", "/proc/1/comm") == "tini"
    docker("exec", container, "generic-worker", "check", "task-spooler")
    docker("stop", "--time=200", container)
    assert docker("inspect", "--format={{.State.ExitCode}}", container) == "0", "tini passes the signal on"
