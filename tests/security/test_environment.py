"""What a deployment has in `env` is its job's: it never is a variable of a command that the worker runs."""

import json
import shlex
from pathlib import Path

import pytest
from prefect.exceptions import PrefectHTTPStatusError

VALUES = [
    value
    for value in json.loads((Path(__file__).parent.parent / "hostile_values.json").read_text(encoding="utf-8"))
    if "prefect.blocks" not in value  # Prefect puts a block's value there
]


def dumping(file):
    """A command that writes its environment into a file."""
    return shlex.join(["/bin/sh", "-c", f"/usr/bin/env -0 >{file}.new && /bin/mv {file}.new {file}"])


def dumped(file):
    return dict(entry.split("=", 1) for entry in file.read_bytes().decode().split("\0") if entry)


def test_podman_is_not_configured_by_a_deployment(hardened, service, start_worker, tmp_path):
    trap, ran = tmp_path / "monitor", tmp_path / "ran"
    trap.write_text(f'#!/bin/sh\n/usr/bin/touch {ran}\nexec /usr/bin/conmon "$@"\n')
    trap.chmod(0o755)
    folder = tmp_path / "two\nlines"
    folder.mkdir()
    own = Path(service("podman")["CONTAINERS_CONF"]).read_text()
    (folder / "containers.conf").write_text(own + f'conmon_path = ["{trap}"]\n')
    pool = hardened("podman", "podman-environment", [f"{tmp_path}:{tmp_path}"])

    with start_worker(pool.name, env=service("podman")):
        run = pool.run(command=dumping(tmp_path / "dump"), env={"CONTAINERS_CONF": f"{folder}/containers.conf"})
        pool.ended(run)

    assert not ran.exists()
    assert dumped(tmp_path / "dump")["CONTAINERS_CONF"] == f"{folder}/containers.conf"


@pytest.mark.parametrize("recipe", ["docker", "podman"])
def test_values_that_no_line_can_hold_arrive_and_the_workers_own_do_not(
    hardened, service, start_worker, tmp_path, recipe
):
    pool = hardened(recipe, f"{recipe}-values", [f"{tmp_path}:{tmp_path}"])
    env = {f"VALUE_{number}": value for number, value in enumerate(VALUES)}
    env |= {"GIT_TOKEN": "x\ny", "LONG": 90_000 * "x", "HTTPS_PROXY": "http://nowhere:1\n"}

    with start_worker(pool.name, env={**service(recipe), "GIT_TOKEN": "the worker's own", "BARE": "the worker's own"}):
        run = pool.run(command=dumping(tmp_path / "dump"), env=env)
        pool.ended(run)

    found = dumped(tmp_path / "dump")
    assert {name: found.get(name) for name in env} == env
    assert "the worker's own" not in found.values()
    assert [name for name in found if name.startswith("GENERIC_WORKER")] == []


def test_no_placeholder_of_a_deployment_is_a_variable_of_the_worker(hardened, service, start_worker, tmp_path):
    pool = hardened("podman", "placeholders", [f"{tmp_path}:{tmp_path}"])
    template = pool.read_pool().base_job_template
    template["variables"]["properties"]["env"]["default"] = {"OWNERS": "{{ $OWNERS_CHOICE }}"}
    pool.update(template)
    env = {"LEAK": "{{ $WORKERS }}", "NESTED": "{{ {{$A}}$WORKERS }}", "MIXED": "a{{$WORKERS}}b", "JOB": "{{ image }}"}

    with start_worker(pool.name, env=service("podman") | {"WORKERS": "the worker's own", "OWNERS_CHOICE": "chosen"}):
        run = pool.run(command=dumping(tmp_path / "dump"), env=env, name="{{ {{$A}}$WORKERS }}")
        pool.ended(run)

    found = dumped(tmp_path / "dump")
    assert {name: found[name] for name in env} == env
    assert found["OWNERS"] == "chosen"
    assert "the worker's own" not in str(found) + pool.logs(run)


NO_NAMES = ["BARE\nGIT_TOKEN", "GIT_TOKEN\n", "A B", "A=B", "-A", "A*"]


def test_a_name_that_is_none_is_refused(hardened, service, start_worker, tmp_path):
    pool = hardened("docker", "docker-names", [f"{tmp_path}:{tmp_path}"])
    for name in NO_NAMES:
        with pytest.raises(PrefectHTTPStatusError, match="Validation failed for field 'env'"):
            pool.run(env={name: "x"})
    older = pool.read_pool().base_job_template
    del older["variables"]["properties"]["env"]["propertyNames"]
    pool.update(older)

    with start_worker(pool.name, env={**service("docker"), "GIT_TOKEN": "the worker's own"}):
        runs = {name: pool.run(command=dumping(tmp_path / "dump"), env={name: "x"}) for name in NO_NAMES}
        states = {name: pool.ended(run) for name, run in runs.items()}

    assert {name: state.name for name, state in states.items()} == dict.fromkeys(NO_NAMES, "Crashed")
    for name, state in states.items():
        assert f"{name!r} is not the name of a variable" in state.message
    assert not (tmp_path / "dump").exists()
