"""The directory of bundles: whole or not at all, for one pair of eyes, and nobody else's code."""

import json
import os
import stat
import sys
import threading
import time
from uuid import UUID, uuid4

import pytest

from generic_worker.bundles.directory import discard, download, keep, left_behind, remove, upload
from generic_worker.errors import BundleError

KEY = "6a0e1f6e-9d0b-4c87-8a5c-cd7a6a4d2a10"
RUN = UUID("0c1de2b4-55a5-4d4b-9d5e-5a7f9a0e3a11")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HOUR, MONTH = 3600, 30 * 24 * 3600


@pytest.fixture
def directory(tmp_path):
    """Where bundles go; it is not there yet."""
    return tmp_path / "shared" / "bundles"


@pytest.fixture
def bundle(tmp_path):
    """What Prefect hands over: a file, and beside it the archive of included files."""
    (tmp_path / "out" / "files").mkdir(parents=True)
    (tmp_path / "out" / "files" / "1f.zip").write_bytes(b"zipped")
    file = tmp_path / "out" / KEY
    content = {"function": "f", "context": "c", "flow_run": {"id": str(RUN)}, "dependencies": ""}
    file.write_text(json.dumps({**content, "files_key": "files/1f.zip"}))
    return file


def modes(directory):
    return {str(path.relative_to(directory)): oct(stat.S_IMODE(path.stat().st_mode)) for path in directory.rglob("*")}


def refusal(*arguments, **options):
    with pytest.raises(BundleError) as refused:
        download(*arguments, patience=0, **options)
    return str(refused.value)


def test_a_bundle_comes_back_as_it_went_and_only_its_owner_can_read_it(directory, bundle):
    upload(str(directory), KEY, bundle)
    upload(str(directory), "files/1f.zip", bundle.parent / "files" / "1f.zip")  # as Prefect does; it is there already
    found = download(str(directory), KEY)

    assert found.content == {"function": "f", "context": "c", "flow_run": {"id": str(RUN)}, "dependencies": ""}
    assert (found.flow_run_id, found.files.read_bytes()) == (RUN, b"zipped")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert modes(directory) == {
        KEY: "0o700",
        f"{KEY}/about.json": "0o600",
        f"{KEY}/bundle.json": "0o600",
        f"{KEY}/files.zip": "0o600",
    }


def test_a_bundle_that_cannot_be_written_whole_is_not_there_at_all(directory, bundle):
    (bundle.parent / "files" / "1f.zip").unlink()
    with pytest.raises(BundleError) as refused:
        upload(str(directory), KEY, bundle)

    assert str(refused.value) == f"The bundle cannot be written to {directory}: No such file or directory."
    assert list(directory.iterdir()) == []


def test_a_key_leads_nowhere_else(directory, bundle):
    with pytest.raises(BundleError, match="'..' is no name for a bundle."):
        upload(str(directory), "..", bundle)

    assert list(directory.iterdir()) == []
    assert refusal(str(directory), "../out").startswith("There is no bundle ../out in ")


def test_a_bundle_that_another_host_does_not_see_yet_is_waited_for(directory, bundle):
    directory.mkdir(parents=True)
    late = threading.Timer(0.3, upload, (str(directory), KEY, bundle))
    late.start()

    assert download(str(directory), KEY, patience=30).flow_run_id == RUN
    late.join()


def test_a_bundle_that_is_not_there_is_told_with_the_reasons(directory):
    directory.mkdir(parents=True)

    assert refusal(str(directory), KEY) == (
        f"There is no bundle {KEY} in {directory}. It is removed when its flow run has ended: call the flow again. "
        "If it never was there, the directory is not the same on this host as where the flow was called."
    )


def test_a_bundle_of_another_python_is_refused_before_it_is_unpickled(directory, bundle):
    upload(str(directory), KEY, bundle)
    (directory / KEY / "about.json").write_text(json.dumps({"flow_run_id": str(RUN), "python": "3.1"}))

    assert refusal(str(directory), KEY) == (
        f"The flow was sent from Python 3.1, and this is Python {PYTHON} at {sys.executable}. Both must be the same: "
        "choose the job's Python with launcher={'execution': ['/path/to/python']}, or put it first in the job's PATH."
    )


def test_a_bundle_of_somebody_else_is_refused(directory, bundle, monkeypatch):
    upload(str(directory), KEY, bundle)
    owner = (directory / KEY).stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: 987654)

    assert "'s, and this job runs as user 987654. " in refusal(str(directory), KEY)
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    assert download(str(directory), KEY).flow_run_id == RUN


def test_a_link_to_a_folder_is_no_bundle(directory, bundle):
    upload(str(directory), KEY, bundle)
    (directory / "link").symlink_to(directory / KEY)

    assert refusal(str(directory), "link") == f"The bundle {directory / 'link'} is no directory."


def test_a_directory_in_which_others_can_replace_bundles_is_refused(directory, bundle):
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    with pytest.raises(BundleError) as refused:
        upload(str(directory), KEY, bundle)
    directory.chmod(0o1777)
    upload(str(directory), KEY, bundle)

    assert str(refused.value) == (
        f"Others may remove and replace what is in {directory}, and jobs would run what they put there. "
        f"Write: chmod go-w {directory}, or chmod +t {directory} if several users send flows from it."
    )
    assert download(str(directory), KEY).flow_run_id == RUN


def test_a_relative_directory_is_refused(bundle):
    with pytest.raises(BundleError, match="is 'bundles'. Write a path that begins with a slash or ~."):
        upload("bundles", KEY, bundle)


def test_a_home_is_that_of_whoever_calls(tmp_path, bundle, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    upload("~/flows", KEY, bundle)

    assert (tmp_path / "home" / "flows" / KEY / "bundle.json").is_file()


def test_a_bundle_is_removed_but_not_what_its_flow_has_written(directory, bundle):
    upload(str(directory), KEY, bundle)
    upload(str(directory), "other", bundle)
    (directory / KEY / "files").mkdir()
    keep(download(str(directory), KEY))
    remove(download(str(directory), "other"))

    assert sorted(modes(directory)) == [KEY, f"{KEY}/about.json", f"{KEY}/files"]


def aged(path, seconds):
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_what_was_left_behind_is_removed_when_its_run_has_ended_or_after_a_month(directory, bundle):
    def made(name, seconds, run):
        content = json.loads(bundle.read_bytes()) | {"flow_run": {"id": str(run)}}
        (bundle.parent / name).write_text(json.dumps(content))
        upload(str(directory), name, bundle.parent / name)
        aged(directory / name, seconds)
        return run

    ended, lasts, gone = uuid4(), uuid4(), uuid4()
    made("ended", 2 * HOUR, ended)
    made("new", HOUR / 2, ended)
    made("lasts", 2 * MONTH, lasts)
    made("gone", 2 * HOUR, gone)
    made("long-gone", 2 * MONTH, gone)
    for name, age in (("written", 2 * HOUR), ("long-written", 2 * MONTH)):
        made(name, 0, ended)
        (directory / name / "bundle.json").unlink()
        aged(directory / name, age)
    (directory / ".draft-x").mkdir()
    (directory / "photos").mkdir()  # somebody else's, in a directory that is not for bundles alone
    for name in (".draft-x", "photos"):
        aged(directory / name, 2 * MONTH)
    left = left_behind(str(directory))
    discard(left, {ended: True, lasts: False})

    assert {one.folder.name for one in left} == {
        "ended", "lasts", "gone", "long-gone", "written", "long-written", ".draft-x"
    }  # fmt: skip
    assert {path.name for path in directory.iterdir()} == {
        "new", "lasts", "gone", "written", "photos", f".tidied-{os.geteuid()}"
    }  # fmt: skip
    assert left_behind(str(directory)) == []  # within the hour
