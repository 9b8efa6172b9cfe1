"""Recipe files, and a recipe that others extend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from generic_worker.library.loading import DIRECTORIES_VARIABLE, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARENT = """\
recipe: 1
name: parent
variables:
  queue: {type: string, default: all}
  size: {type: integer}
required: [queue, size]
env: {QUEUE: '${queue}', HOME_OF: '${size}x'}
submit:
  run:
    - launch
    - --queue=${queue}
    - --size=${size}
    - [--both, '${queue}-${size}']
    - last
  stdin: {queue: '${queue}', list: ['${queue}', '${size}'], deep: {queue: 'q ${queue}', size: '${size}'}}
  output: {columns: [id], separator: '|'}
status:
  - run: [launch, list]
    output: {columns: [id, state]}
states: {finished: [done], running: [active]}
cancel: {run: [launch, stop, '${job_id}']}
examples:
  - {of: submit, stdout: '17', expect: {id: 17}}
"""


CHILD = "recipe: 1\nname: child\nextends: parent\n"


def _write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def write() -> Callable[[Path, str, str], Path]:
    """Write a recipe into a folder, which is made: write(folder, name, text)."""
    return _write


@pytest.fixture
def parent() -> str:
    """The text of the recipe that is extended."""
    return PARENT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory and a recipe directory, with a recipe to extend."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DIRECTORIES_VARIABLE, str(tmp_path))
    _write(tmp_path, "parent", PARENT)
    return tmp_path


@pytest.fixture
def child() -> Callable[[Path, str], dict[str, Any]]:
    """Make the data of a recipe that extends it: child(folder, text)."""

    def make(folder: Path, text: str) -> dict[str, Any]:
        _write(folder, "child", CHILD + text)
        return load("child").data

    return make
