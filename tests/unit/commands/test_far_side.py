"""Commands behind a transport that greets, as real processes: which output is the command's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from generic_worker.commands.far_side import assignments, behind
from generic_worker.commands.runner import Command, CommandResult, CommandRunner

if TYPE_CHECKING:
    from pathlib import Path

GREETINGS = {
    "nothing": "",
    "a line": "Welcome to node1\n",
    "a box": "+-------+\n| node1 |\n+-------+\n",
    "JSON": '{"motd": []}\n',
    "no line break": "node1> ",
}
SSH = """#!/bin/sh
cat "{place}/before"; cat "{place}/before" >&2
sh -c "$1"; code=$?
cat "{place}/after"; cat "{place}/after" >&2
exit $code
"""


def through(place: Path, argv: list[str], before: str = "", after: str = "", **variables: str) -> CommandResult:
    """Run a command through a shell of another host, which says something before and after."""
    (place / "before").write_text(before)
    (place / "after").write_text(after)
    (place / "ssh").write_text(SSH.format(place=place))
    (place / "ssh").chmod(0o755)
    plain, marked = behind([str(place / "ssh")], argv, variables, shell=True)
    command = Command(plain, assignments(variables) + "typed", variables, marked=marked)
    return asyncio.run(CommandRunner().run(command))


@pytest.mark.parametrize("variables", [{}, {"n": "kept", "generic_worker_env": "too"}])
@pytest.mark.parametrize("after", GREETINGS)
@pytest.mark.parametrize("before", GREETINGS)
def test_what_a_far_side_says_before_and_after_is_not_the_commands(
    before: str, after: str, variables: dict[str, str], tmp_path: Path
) -> None:
    script = 'echo "[1]"; printf "%s" "$n"; cat; echo trouble >&2; exit 7'
    result = through(tmp_path, ["sh", "-c", script], GREETINGS[before], GREETINGS[after], **variables)

    assert (result.stdout, result.stderr) == (f"[1]\n{variables.get('n', '')}typed", "trouble\n")
    assert (result.exit_code, result.truncated) == (7, False)
    assert "generic-worker:begin" not in result.command.line


def test_a_command_that_prints_nothing_has_printed_nothing(tmp_path: Path) -> None:
    result = through(tmp_path, ["true"], "Welcome\n", "Bye\n")

    assert (result.stdout, result.stderr, result.exit_code, result.truncated) == ("", "", 0, False)


def test_an_output_whose_end_did_not_arrive_is_not_complete(tmp_path: Path) -> None:
    result = through(tmp_path, ["sh", "-c", "echo 1; kill -9 $PPID"])

    assert (result.stdout, result.truncated) == ("1\n", True)


def test_where_no_shell_has_run_everything_is_what_the_transport_says() -> None:
    plain, marked = behind(["sh", "-c", "echo refused >&2; exit 255"], ["true"], {}, shell=True)
    result = asyncio.run(CommandRunner().run(Command(plain, marked=marked)))

    assert (result.stderr, result.exit_code, result.truncated) == ("refused\n", 255, False)


def test_without_a_shell_and_without_variables_the_words_stay_as_they_are() -> None:
    words = ("sudo", "--", "launch", "a b")

    assert behind(["sudo", "--"], ["launch", "a b"], {}, shell=False) == (words, words)
