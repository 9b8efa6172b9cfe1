"""Real backends, found by folder: where there is none, a test is skipped or, if that is required, fails."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

REQUIRED = os.environ.get("GENERIC_WORKER_REQUIRE_BACKENDS", "").split()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """A test of a required backend may not be skipped, for whatever reason."""
    report = yield
    wanted = [name for name in REQUIRED if name.replace("-", "_") in item.fixturenames]
    if report.skipped and wanted and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though GENERIC_WORKER_REQUIRE_BACKENDS names {wanted[0]}: {report.longreprtext}"
    return report


def backend_environment(name):
    """The environment in which a backend's commands work, from the `env.sh` that its start script wrote."""
    folder = os.environ.get("GENERIC_WORKER_TEST_BACKENDS")
    script = Path(folder, name, "env.sh") if folder else None
    if script is None or not script.is_file():
        reason = f"no {name}: start it with tests/live/backends/{name}.sh, and see CONTRIBUTING.md"
        if name in REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    shown = subprocess.run(
        ["/bin/sh", "-c", f". {shlex.quote(str(script))} && env -0"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    pairs = (entry.split("=", 1) for entry in shown.stdout.decode().split("\0") if "=" in entry)
    return {key: value for key, value in pairs if key not in {"PWD", "_", "SHLVL", "OLDPWD"}}
