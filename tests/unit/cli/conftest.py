"""The command line, called in a directory with one recipe."""

import io
import sys

import pytest

from generic_worker.cli import main

RECIPE = """\
recipe: 1
name: sample
description: A sample.
requires: [sh, no-such-program-here]
verified: {with: "launch 1.2", by: hand}
variables:
  queue: {type: string, pattern: '^[a-z]*$', description: Queue.}
  cpus: {type: integer, description: CPUs.}
  tags: {type: array, items: {type: string}, description: Tags.}
  login: {block: secret-login, description: Login.}
submit:
  run: [launch, '--queue=${queue}', '--cpus=${cpus}', '--tag=${tags}', '-l=${labels | pairs}', '--name=${job_name}']
  stdin: ${env | pairs | join(' ')}
  env: {LOGIN: '${login.password}'}
  output: {regex: '^job (?P<id>\\d+)(?: on (?P<cluster>\\w+))?$'}
find:
  run: [list, '--name=${job_key}']
  output: {columns: [id]}
status:
  - run: [list]
    output: {columns: [id, state, exit_code, reason]}
  - run: [history, "${job_ids | join(',')}", '--cluster=${job_cluster}']
    output: {columns: [id, state]}
states: {running: [active], finished: [done]}
explain:
  run: [show, '${job_id}']
  output: {columns: [exit_code, reason]}
cancel: {run: [stop, '${job_id}']}
logs:
  run: tail -n 5 "out.$job_id"
"""


@pytest.fixture
def sample():
    """The text of that recipe."""
    return RECIPE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with one recipe in it, and no other recipes to be found than the bundled ones."""
    (tmp_path / "sample.yaml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENERIC_WORKER_RECIPES", raising=False)
    return tmp_path


@pytest.fixture
def call(folder, capsys, monkeypatch):
    """Run the command with standard input; its exit code and what it printed."""

    def run(*arguments, stdin=""):
        content = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        code = main.run(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run
