"""Nobody else may look into what is the worker's own."""

import os
import stat

import pytest

from generic_worker.commands.private_files import make_private, write_private
from generic_worker.errors import CommandError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_is_private_and_so_are_those_above_it(tmp_path):
    made = tmp_path / "a" / "b" / "c"
    (tmp_path / "a").mkdir(mode=0o755)
    make_private(made, 2)

    assert [mode(path) for path in (made, made.parent, tmp_path / "a")] == [0o700, 0o700, 0o755]


def test_a_link_in_its_place_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "mine").symlink_to("theirs")

    with pytest.raises(CommandError, match="is not the worker's own: it is a link, or another user's"):
        make_private(tmp_path / "mine", 1)


def test_a_file_is_written_in_the_place_of_a_link_and_not_behind_it(tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "file").symlink_to("theirs")
    write_private(tmp_path / "file", os.fsdecode(b"mine\xff"))

    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (tmp_path / "file").read_bytes() == b"mine\xff"
    assert mode(tmp_path / "file") == 0o600
