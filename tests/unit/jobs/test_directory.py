"""A job's private directory: who may read what, and what is said where it cannot be written."""

import os
import stat

import pytest

from generic_worker.errors import CommandError
from generic_worker.jobs.directory import prepare_directory, remove_directory
from generic_worker.library.loading import load

RECIPE = {
    "recipe": 1,
    "name": "test",
    "submit": {"run": ["submit", "${job_dir}"], "output": {"regex": "(?P<id>.+)"}},
    "status": {"run": ["look"], "output": {"columns": ["id", "state"]}},
    "cancel": {"run": ["stop", "${job_id}"]},
    "states": {"succeeded": ["ok"]},
    "files": {"manifest": {"key": "${job_key}"}, "note": "for ${job_key}\n"},
}


@pytest.fixture
def values(tmp_path):
    folder = tmp_path / "jobs" / "pf-1"
    return {"job_key": "pf-1", "job_dir": str(folder), "file_manifest": str(folder / "manifest")}


def modes(folder):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_only_the_worker_may_read_what_is_in_it(tmp_path, values, umask):
    before = os.umask(umask)
    try:
        prepare_directory(load(RECIPE).recipe, values)
    finally:
        os.umask(before)
    folder = tmp_path / "jobs" / "pf-1"

    assert modes(folder) == {"pf-1": 0o700, "manifest": 0o600, "note": 0o600}
    assert (folder / "manifest").read_text() == '{"key": "pf-1"}'
    assert (folder / "note").read_text() == "for pf-1\n"


def test_text_that_is_not_utf_8_arrives_as_it_was(tmp_path, values):
    recipe = load(RECIPE | {"files": {"note": "${job_key}"}}).recipe
    prepare_directory(recipe, values | {"job_key": os.fsdecode(b"pf-\xff")})

    assert (tmp_path / "jobs" / "pf-1" / "note").read_bytes() == b"pf-\xff"


def test_what_an_earlier_try_has_left_is_written_anew(tmp_path, values):
    for key in ("a-long-key-of-an-earlier-try", "pf-1"):
        prepare_directory(load(RECIPE).recipe, values | {"job_key": key})

    assert (tmp_path / "jobs" / "pf-1" / "note").read_text() == "for pf-1\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path, values):
    (tmp_path / "jobs").write_text("a file where a directory is to be")
    with pytest.raises(CommandError) as error:
        prepare_directory(load(RECIPE).recipe, values)

    assert str(error.value) == f"the directory {tmp_path}/jobs/pf-1 cannot be written: Not a directory."


def test_it_goes_with_everything_in_it_and_may_be_gone_already(tmp_path, values):
    prepare_directory(load(RECIPE).recipe, values)
    remove_directory(values)
    remove_directory(values)

    assert list((tmp_path / "jobs").iterdir()) == []


def test_every_level_is_private_also_one_that_was_there(tmp_path, values):
    state = tmp_path / "state"
    folder = state / "prefect-generic-worker" / "host" / "test" / "pf-1"
    (state / "prefect-generic-worker" / "host").mkdir(parents=True)
    (state / "prefect-generic-worker").chmod(0o777)
    prepare_directory(load(RECIPE).recipe, values | {"job_dir": str(folder)})

    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.parents[:3])] == 4 * [0o700]
    assert stat.S_IMODE(state.stat().st_mode) != 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_directory_that_is_somebody_elses_is_refused(tmp_path, values):
    folder = tmp_path / "jobs" / "pf-1"
    folder.mkdir(parents=True)
    os.chown(folder, 12345, 12345)

    with pytest.raises(CommandError) as caught:
        prepare_directory(load(RECIPE).recipe, values)

    assert str(caught.value) == f"the directory {folder} is not the worker's own: it is a link, or another user's."
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["", "note"])
def test_a_link_is_not_followed(tmp_path, values, name):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("as it was")
    folder = tmp_path / "jobs" / "pf-1"
    folder.parent.mkdir()
    if name:
        folder.mkdir()
        (folder / name).symlink_to(victim / "file")
        prepare_directory(load(RECIPE).recipe, values)
    else:
        folder.symlink_to(victim)
        with pytest.raises(CommandError):
            prepare_directory(load(RECIPE).recipe, values)

    assert [path.name for path in victim.iterdir()] == ["file"]
    assert (victim / "file").read_text() == "as it was"
