"""Pools as a careful owner makes them: what is powerful is fixed in the template, the rest is a deployment's."""

import pytest
from backends import backend_environment, pytest_runtest_makereport  # noqa: F401 - the latter is a hook

from generic_worker.library.loading import load
from generic_worker.library.template import base_job_template

HOST_FOLDERS = [f"/{name}:/{name}:ro" for name in ("usr", "lib", "lib64")]
FIXED = {
    "process": {"directory": None},
    "docker": {"image": "hostfs", "image_pull_policy": "never", "network": "host", "docker_options": []},
    "podman": {"image": "localhost/busybox", "image_pull_policy": "never", "network": "host", "podman_options": []},
    "slurm": {"sbatch_options": [], "setup": None, "working_dir": None},
}
SERVICES = {"docker": "dockerd", "podman": "podman", "slurm": "slurm"}


@pytest.fixture(scope="session")
def hardened(make_pool):
    """A pool of a recipe with all that is powerful fixed: hardened(recipe, name, volumes=(), **variables).

    A variable that is given here is fixed too; with None it is left open.
    """

    def make(recipe, name, volumes=(), **variables):
        template = base_job_template(load(recipe))
        fixed = FIXED[recipe] | variables
        if recipe in {"docker", "podman"}:
            bins = ["/bin:/bin:ro", "/etc:/etc:ro"] if recipe == "docker" else []
            fixed["volumes"] = [*HOST_FOLDERS, *bins, *volumes]
        template["job_configuration"]["variables"] |= fixed
        return make_pool(name, template=template)

    return make


@pytest.fixture(scope="session")
def service():
    """What a recipe's commands need in their environment to reach their backend: service(recipe)."""
    return lambda recipe: backend_environment(SERVICES[recipe]) if recipe in SERVICES else {}
