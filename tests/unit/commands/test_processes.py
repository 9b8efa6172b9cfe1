"""Real programs from fork to reap: what is kept of their output, and how they end."""

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

from generic_worker.commands import processes
from generic_worker.commands.runner import Command, CommandResult, CommandRunner
from generic_worker.errors import CommandOverdue

PATIENT = "trap '' TERM; (trap '' TERM; sleep 100; sleep 100) & while :; do sleep 100; done"


def test_the_output_of_both_streams_and_the_exit_code_are_kept_apart(run):
    result = run("sh", "-c", "echo out; echo err >&2; exit 3")

    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert (result.timed_out, result.truncated) == (False, False)


def test_a_command_that_succeeds_exits_0(run):
    assert run("true").exit_code == 0


def test_a_signal_is_a_negative_exit_code(run):
    result = run("sh", "-c", "kill -SEGV $$")

    assert result.exit_code == -signal.SIGSEGV
    assert re.search(r" was killed by SIGSEGV after \d+\.\d s$", result.describe(str))


def test_a_signal_without_a_name_is_described_by_its_number():
    assert Command(("x",)).line == "x"
    assert CommandResult(Command(("x",)), -40, "", "", 1).describe(str) == "`x` was killed by signal 40 after 1.0 s"


def test_a_description_has_the_command_its_end_and_its_last_lines():
    command = Command(("squeue", "--me", "a b"))
    result = CommandResult(command, 1, "out", "\nno controller\n  retry\n", 0.41)

    assert result.describe(str) == "`squeue --me 'a b'` exited 1 after 0.4 s\n    no controller\n      retry"


def test_a_description_shows_stdout_if_stderr_is_blank():
    assert CommandResult(Command(("x",)), 1, "out\n", " \n", 0).describe(str) == "`x` exited 1 after 0.0 s\n    out"


def test_a_description_is_bounded():
    lines = "\n".join(str(number) for number in range(100))
    twenty = CommandResult(Command(("x",)), 1, "", lines, 0).describe(str)
    wide = CommandResult(Command(("x", "y" * 10**6)), 1, "", "z" * 10**6, 0).describe(str)

    assert twenty.splitlines()[1:] == [f"    {number}" for number in range(80, 100)]
    assert len(wide) < 3100


def test_last_lines_have_no_nul_which_no_database_keeps():
    assert CommandResult(Command(("x",)), 1, "", "a\0b\n", 0).describe(str) == "`x` exited 1 after 0.0 s\n    a\ufffdb"


def test_a_description_is_masked_before_anything_is_cut_off():
    secret = "s3cret-" + "0123456789" * 4

    def hide(text):
        return text.replace(secret, "***")

    for padding in range(40):
        command = Command(("x", "y" * (990 - padding) + secret))
        result = CommandResult(command, 1, "", f"{secret}{'z' * (1990 - padding)}", 0)
        assert not {secret[:8], secret[-8:]} & {
            part for part in (secret[:8], secret[-8:]) if part in result.describe(hide)
        }


def test_bytes_that_are_not_text_are_replaced(run):
    assert run("printf", r"a\377\000b").stdout == "a\ufffd\0b"


def test_all_that_is_printed_last_is_read(run):
    assert run("seq", "1", "200000").stdout == "".join(f"{number}\n" for number in range(1, 200_001))


def test_a_command_that_closes_its_output_is_awaited(run):
    assert run("sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 4").exit_code == 4


def test_output_beyond_the_limit_is_dropped_and_takes_no_memory(rss):
    flood = "head -c 100000000 /dev/zero & head -c 100000000 /dev/zero >&2; wait"
    runner, before, peak = CommandRunner(max_output=2**20), rss(), 0

    async def watch() -> CommandResult:
        nonlocal peak
        running = asyncio.ensure_future(runner.run(Command(("sh", "-c", flood))))
        while not running.done():
            peak = max(peak, rss())
            await asyncio.sleep(0.01)
        return await running

    result = asyncio.run(watch())

    assert (result.exit_code, result.truncated) == (0, True)
    assert (len(result.stdout), len(result.stderr)) == (2**20, 2**20)
    assert peak - before < 32 * 2**20


def test_output_of_exactly_the_limit_is_whole(run):
    result = run("printf", "1234", runner=CommandRunner(max_output=4))

    assert (result.stdout, result.truncated) == ("1234", False)


def test_endless_output_is_stopped_after_the_time_limit(run):
    result = run("yes", timeout=3, runner=CommandRunner(max_output=1000))

    assert (result.timed_out, result.truncated, len(result.stdout)) == (True, True, 1000)


def test_the_output_before_a_time_limit_is_kept(run):
    result = run("sh", "-c", "echo so far; exec sleep 100", timeout=3)

    assert result.describe(str) == (
        "`sh -c 'echo so far; exec sleep 100'` was stopped after its time limit of 3 s\n    so far"
    )


def test_a_command_may_clean_up_when_its_time_is_over(run, monkeypatch):
    monkeypatch.setattr(processes, "_TERM_S", 60)
    result = run("sh", "-c", "trap 'sleep 0.5; echo clean; exit 7' TERM; sleep 100 & wait", timeout=3)

    assert (result.exit_code, result.timed_out, result.stdout) == (7, True, "clean\n")


def test_children_and_grandchildren_that_ignore_sigterm_are_killed(run, monkeypatch):
    monkeypatch.setattr(processes, "_TERM_S", 0.1)
    result = run("sh", "-c", PATIENT, timeout=3)

    assert (result.exit_code, result.timed_out) == (-signal.SIGKILL, True)


def test_grandchildren_are_killed_even_if_their_parent_gave_up_at_once(run):
    stubborn = "(trap '' TERM; sleep 100; sleep 100) >/dev/null 2>&1 & exec sleep 100"
    result = run("sh", "-c", stubborn, timeout=1)

    assert (result.exit_code, result.timed_out) == (-signal.SIGTERM, True)


@pytest.mark.parametrize("launcher", ["", "nohup", "setsid"])
def test_what_a_command_leaves_behind_on_purpose_runs_on_and_holds_nobody_up(launcher, run):
    result = run("sh", "-c", f"{launcher} sleep 60 & echo $!")
    pid = int(result.stdout)
    alive = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    os.kill(pid, signal.SIGKILL)

    assert alive
    assert result.exit_code == 0


def test_a_command_is_not_started_for_something_that_does_not_hold_any_more(tmp_path):
    command = Command(("touch", str(tmp_path / "done")), holds=lambda: False)

    with pytest.raises(CommandOverdue, match="done` was not started: its turn came too late"):
        asyncio.run(CommandRunner().run(command))
    assert not (tmp_path / "done").exists()
