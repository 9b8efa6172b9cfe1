"""Real programs, run by a real runner; whatever a test starts must be gone when it ends."""

from __future__ import annotations

import asyncio
import errno
import glob
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from generic_worker.commands import runner, spawning
from generic_worker.commands.programs import base_environment, find_program
from generic_worker.commands.runner import Command, CommandResult, CommandRunner
from generic_worker.errors import CommandError, CommandNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks for leaks in /proc"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

MARK = "COMMANDS_TEST"
PATIENT = "trap '' TERM; (trap '' TERM; sleep 100; sleep 100) & while :; do sleep 100; done"
ROOT = Path(runner.__file__).parents[2]


def marked_processes(mark: str) -> set[int]:
    """Every process that a test started, whatever session it is in now."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def zombies() -> set[str]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.add(folder.name)
    return found


def open_fds() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if entry.exists() or entry.is_symlink()}


@pytest.fixture(autouse=True)
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Fail a test that leaves a process, a zombie, a thread or a descriptor behind."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(MARK, value)
    fds, threads = len(open_fds()), set(threading.enumerate())
    yield value
    deadline = time.monotonic() + 8
    while True:
        left = {
            "processes": marked_processes(value),
            "zombies": zombies(),
            "threads": set(threading.enumerate()) - threads,
            "fds": max(0, len(open_fds()) - fds),
        }
        if not any(left.values()) or time.monotonic() > deadline:
            break
        time.sleep(0.02)

    assert {name: what for name, what in left.items() if what} == {}


def run(*argv: str, runner: CommandRunner | None = None, **options: object) -> CommandResult:
    command = Command(argv, **options)  # type: ignore[arg-type]
    return asyncio.run((runner or CommandRunner()).run(command))


def refusal(*argv: object, **options: object) -> str:
    with pytest.raises(CommandError) as caught:
        run(*argv, **options)  # type: ignore[arg-type]
    return str(caught.value)


def not_found(*argv: str, **options: object) -> str:
    with pytest.raises(CommandNotFound) as caught:
        run(*argv, **options)  # type: ignore[arg-type]
    return str(caught.value)


def script(path: Path, text: str | bytes, mode: int = 0o755) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


def rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# How a command ends


def test_the_output_of_both_streams_and_the_exit_code_are_kept_apart() -> None:
    result = run("sh", "-c", "echo out; echo err >&2; exit 3")

    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert (result.timed_out, result.truncated) == (False, False)


def test_a_command_that_succeeds_exits_0() -> None:
    assert run("true").exit_code == 0


def test_a_signal_is_a_negative_exit_code() -> None:
    result = run("sh", "-c", "kill -SEGV $$")

    assert result.exit_code == -signal.SIGSEGV
    assert " was killed by SIGSEGV after 0." in result.describe()


def test_a_signal_without_a_name_is_described_by_its_number() -> None:
    assert Command(("x",)).line == "x"
    assert CommandResult(Command(("x",)), -40, "", "", 1).describe() == "`x` was killed by signal 40 after 1.0 s"


def test_a_description_has_the_command_its_end_and_its_last_lines() -> None:
    command = Command(("squeue", "--me", "a b"))
    result = CommandResult(command, 1, "out", "\nno controller\n  retry\n", 0.41)

    assert result.describe() == "`squeue --me 'a b'` exited 1 after 0.4 s\n    no controller\n      retry"


def test_a_description_shows_stdout_if_stderr_is_blank() -> None:
    assert CommandResult(Command(("x",)), 1, "out\n", " \n", 0).describe() == "`x` exited 1 after 0.0 s\n    out"


def test_a_description_is_bounded() -> None:
    lines = "\n".join(str(number) for number in range(100))
    twenty = CommandResult(Command(("x",)), 1, "", lines, 0).describe()
    wide = CommandResult(Command(("x", "y" * 10**6)), 1, "", "z" * 10**6, 0).describe()

    assert twenty.splitlines()[1:] == [f"    {number}" for number in range(80, 100)]
    assert len(wide) < 3100


def test_bytes_that_are_not_text_are_replaced() -> None:
    assert run("printf", r"a\377\000b").stdout == "a\ufffd\0b"


def test_all_that_is_printed_last_is_read() -> None:
    assert run("seq", "1", "200000").stdout == "".join(f"{number}\n" for number in range(1, 200_001))


def test_a_command_that_closes_its_output_is_awaited() -> None:
    result = run("sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 4")

    assert result.exit_code == 4
    assert result.seconds > 0.29


# What a command gets


def test_standard_input_is_empty_unless_given() -> None:
    assert run("cat").stdout == ""


@pytest.mark.parametrize("stdin", ["grüße\n", "grüße\n".encode()])
def test_standard_input_is_text_or_bytes(stdin: str | bytes) -> None:
    assert run("cat", stdin=stdin).stdout == "grüße\n"


def test_a_large_standard_input_is_read_in_full() -> None:
    result = run("wc", "-c", stdin=b"x" * 10**8)

    assert result.stdout.strip() == "100000000"


def test_a_large_standard_input_may_stay_unread() -> None:
    assert run("true", stdin=b"x" * 10**8).exit_code == 0


def test_standard_input_works_without_memfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)

    assert run("cat", stdin="x").stdout == "x"


def test_prefect_settings_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "hidden")
    monkeypatch.setenv("SITE", "hpc")

    assert "PREFECT_API_KEY" not in base_environment()
    assert run("sh", "-c", 'echo "$SITE${PREFECT_API_KEY-}$MORE"', env={"MORE": "+"}).stdout == "hpc+\n"
    assert run("sh", "-c", 'echo "$PREFECT_API_KEY"', env={"PREFECT_API_KEY": "own"}).stdout == "own\n"


def test_a_variable_of_the_worker_may_hold_any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD", os.fsdecode(b"a\377"))

    assert run("sh", "-c", 'printf %s "$ODD" | wc -c').stdout.strip() == "2"


def test_a_command_has_its_own_session_and_no_terminal_and_no_descriptor_of_the_worker() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        session = run("sh", "-c", "echo $$; cut -d' ' -f5,6 /proc/$$/stat").stdout.split()
        seen = run("ls", "/proc/self/fd").stdout.split()
    finally:
        os.close(fd)

    assert len(set(session)) == 1
    assert seen == ["0", "1", "2", "3"]


def test_a_command_runs_in_its_directory(tmp_path: Path) -> None:
    script(tmp_path / "here", "#!/bin/sh\npwd")

    assert run("./here", cwd=str(tmp_path)).stdout == f"{tmp_path.resolve()}\n"


# Programs


def test_a_program_is_looked_up_on_the_path_of_the_command(tmp_path: Path) -> None:
    script(tmp_path / "only-here", "#!/bin/sh\necho found")

    assert find_program("only-here") is None
    assert find_program("only-here", f"/nowhere:{tmp_path}") == str(tmp_path / "only-here")
    assert run("only-here", env={"PATH": str(tmp_path)}).stdout == "found\n"


def test_find_program_needs_an_executable_regular_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    script(tmp_path / "plain", "", 0o644)
    script(tmp_path / "good", "")

    assert find_program("./good") == str(tmp_path / "good")
    assert find_program("good", "") == str(tmp_path / "good")  # an empty entry is the working directory
    assert [find_program(name, str(tmp_path)) for name in ("folder", "plain", "", "a\0b")] == [None] * 4


def test_a_program_that_is_not_on_the_path_is_named() -> None:
    assert not_found("sbatsch") == (
        "cannot start 'sbatsch': not found on PATH of this worker. Install it, or write its full path in the recipe."
    )
    assert not_found("true", env={"PATH": "/nowhere"}) == (
        "cannot start 'true': not found on PATH that its own env sets. "
        "Install it, or write its full path in the recipe."
    )


def test_a_path_without_a_file_is_named() -> None:
    assert not_found("/nowhere/x") == (
        "cannot start '/nowhere/x': there is no such file. Correct its path in the recipe, or install it."
    )


def test_a_file_that_is_not_executable_is_named(tmp_path: Path) -> None:
    path = script(tmp_path / "plain", "#!/bin/sh\n", 0o644)

    assert not_found(path) == (
        f"cannot start {path!r}: {path!r} is not executable. Run `chmod +x` on it, or start it with its interpreter."
    )


def test_a_directory_is_not_a_program(tmp_path: Path) -> None:
    path = str(tmp_path)

    assert not_found(path) == f"cannot start {path!r}: {path!r} is a directory. Name the program in it."


@pytest.mark.parametrize("interpreter", ["/nowhere/sh", "/bin/sh\r", "/"])
def test_a_script_without_its_interpreter_is_named(tmp_path: Path, interpreter: str) -> None:
    path = script(tmp_path / "broken", f"#!{interpreter}\necho no\n")

    assert not_found(path) == (
        f"cannot start {path!r}: its interpreter {interpreter!r} cannot be executed. Correct line 1 of {path!r}."
    )


@pytest.mark.parametrize("head", ["", "# comment\n", "#!\n"])
def test_a_script_without_an_interpreter_line_runs_in_the_shell(tmp_path: Path, head: str) -> None:
    assert run(script(tmp_path / "bare", f'{head}echo "$1"'), "a b").stdout == "a b\n"


def test_a_file_that_is_no_program_of_this_machine_is_named(tmp_path: Path) -> None:
    path = script(tmp_path / "foreign", b"\x7fELF" + bytes(100))

    assert refusal(path) == (
        f"cannot start {path!r}: Exec format error. Check the program and what its first line names."
    )


def test_a_program_that_is_being_written_is_named(tmp_path: Path) -> None:
    path = script(tmp_path / "busy", Path("/bin/true").read_bytes())
    with Path(path).open("ab"):
        text = refusal(path)

    assert text == f"cannot start {path!r}: Text file busy. Check the program and what its first line names."


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    cwd = str(tmp_path / "gone")

    assert refusal("true", cwd=cwd) == (
        f"cannot start 'true': its working directory {cwd!r} cannot be entered. Create it, or correct cwd."
    )
    assert "cannot be entered" in refusal("true", cwd="a\0b")


# Words


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ((), "cannot start a command without words. Name a program."),
        (("true", "a\0b"), "cannot start 'true': argument 1 holds a NUL byte. Pass binary data in a file."),
        (("a\0b",), r"cannot start 'a\x00b': its name holds a NUL byte. Pass binary data in a file."),
        (("true", "x", 3), "cannot start 'true': argument 2 is int, not text. Convert it to text."),
        (("true", "\ud800"), "cannot start 'true': argument 1 is not valid text. Give it in UTF-8."),
        (
            ("true", "x" * 131072),
            "cannot start 'true': argument 1 has 131072 bytes, and 131071 is the limit. Pass it in a file.",
        ),
    ],
)
def test_a_word_that_cannot_be_passed_is_named_by_its_position(argv: tuple[object, ...], text: str) -> None:
    assert refusal(*argv) == text


def test_the_longest_argument_is_passed() -> None:
    assert run("sh", "-c", 'printf %s "${#1}"', "sh", "x" * 131071).stdout == "131071"


def test_arguments_that_are_too_long_together_are_refused() -> None:
    text = refusal("true", *["x" * 100_000] * 80)

    assert text.startswith("cannot start 'true': its arguments and variables take 80")
    assert text.endswith(". Pass long values in a file.")


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({"A": "hidden\0"}, "variable 'A' holds a NUL byte. Pass binary data in a file."),
        ({"A": 1}, "variable 'A' is int, not text. Convert it to text."),
        (
            {"A": "hidden" * 30000},
            "variable 'A' has 180002 bytes, and 131071 is the limit. Pass it in a file.",
        ),
        ({"A=B": "hidden"}, "'A=B' cannot be the name of a variable. Rename it."),
        ({"A": "hidden\ud800"}, "variable 'A' is not valid text. Give it in UTF-8."),
    ],
)
def test_a_variable_that_cannot_be_passed_is_named_without_its_value(env: dict[str, str], text: str) -> None:
    assert refusal("true", env=env) == f"cannot start 'true': {text}"


def test_standard_input_that_cannot_be_encoded_is_refused() -> None:
    assert refusal("cat", stdin="\ud800") == (
        "cannot start 'cat': its standard input is not valid text. Give it in UTF-8."
    )


def test_secrets_are_neither_logged_nor_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    run("true", "hidden", env={"TOKEN": "hidden"}, stdin="hidden")

    assert "hidden" not in caplog.text
    assert "hidden" not in repr(Command(("true",), env={"TOKEN": "hidden"}, stdin="hidden"))


def test_importing_sh_leaves_glob_alone() -> None:
    assert glob.glob.__module__ == "glob"


# Bounds


def test_output_beyond_the_limit_is_dropped_and_takes_no_memory() -> None:
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
    print(f"two floods of 100 MB: {result.seconds:.2f} s, +{(peak - before) / 2**20:.1f} MiB")

    assert (result.exit_code, result.truncated) == (0, True)
    assert (len(result.stdout), len(result.stderr)) == (2**20, 2**20)
    assert peak - before < 32 * 2**20


def test_output_of_exactly_the_limit_is_whole() -> None:
    result = run("printf", "1234", runner=CommandRunner(max_output=4))

    assert (result.stdout, result.truncated) == ("1234", False)


def test_endless_output_is_stopped_after_the_time_limit() -> None:
    result = run("yes", timeout=0.5, runner=CommandRunner(max_output=1000))

    assert (result.timed_out, result.truncated, len(result.stdout)) == (True, True, 1000)
    assert 0.5 <= result.seconds < 2


def test_the_output_before_a_time_limit_is_kept() -> None:
    result = run("sh", "-c", "echo so far; exec sleep 100", timeout=0.3)

    assert result.describe() == (
        "`sh -c 'echo so far; exec sleep 100'` was stopped after its time limit of 0.3 s\n    so far"
    )


def test_a_command_may_clean_up_within_two_seconds() -> None:
    result = run("sh", "-c", "trap 'sleep 0.5; echo clean; exit 7' TERM; sleep 100 & wait", timeout=0.3)

    assert (result.exit_code, result.timed_out, result.stdout) == (7, True, "clean\n")


def test_children_and_grandchildren_that_ignore_sigterm_are_killed() -> None:
    result = run("sh", "-c", PATIENT, timeout=0.3)

    assert (result.exit_code, result.timed_out) == (-signal.SIGKILL, True)
    assert 2.2 < result.seconds < 5


def test_grandchildren_are_killed_even_if_their_parent_gave_up_at_once() -> None:
    stubborn = "(trap '' TERM; sleep 100; sleep 100) >/dev/null 2>&1 & exec sleep 100"
    result = run("sh", "-c", stubborn, timeout=0.3)

    assert (result.exit_code, result.timed_out) == (-signal.SIGTERM, True)


@pytest.mark.parametrize("launcher", ["", "nohup", "setsid"])
def test_what_a_command_leaves_behind_on_purpose_runs_on_and_holds_nobody_up(launcher: str) -> None:
    result = run("sh", "-c", f"{launcher} sleep 60 & echo $!")
    pid = int(result.stdout)
    alive = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    os.kill(pid, signal.SIGKILL)

    assert alive
    assert result.exit_code == 0
    assert result.seconds < 1.5


# Many at once


def test_no_more_than_the_limit_run_at_once(tmp_path: Path) -> None:
    runner = CommandRunner(limit=3)
    count = f"ls {tmp_path} | wc -l"
    command = Command(("sh", "-c", f"touch {tmp_path}/$$; {count}; sleep 0.1; rm {tmp_path}/$$"))

    async def start() -> list[CommandResult]:
        return await asyncio.gather(*(runner.run(command) for _ in range(12)))

    assert max(int(result.stdout) for result in asyncio.run(start())) == 3


def test_one_runner_serves_several_event_loops() -> None:
    runner = CommandRunner(limit=1)

    async def start() -> list[CommandResult]:
        return await asyncio.gather(*(runner.run(Command(("true",))) for _ in range(3)))

    assert [len(asyncio.run(start())) for _ in range(3)] == [3, 3, 3]


def test_the_event_loop_is_not_held_up_by_200_commands_at_once() -> None:
    runner, gaps = CommandRunner(limit=200), [0.0]

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            gaps.append(time.monotonic() - before - 0.001)

    async def start() -> list[CommandResult]:
        ticking = asyncio.ensure_future(tick())
        results = await asyncio.gather(*(runner.run(Command(("sh", "-c", f"echo {n}"))) for n in range(200)))
        ticking.cancel()
        return results

    results = asyncio.run(start())
    gaps.sort()
    print(f"the loop stood still for {gaps[-1]:.3f} s at most, {gaps[len(gaps) // 2]:.4f} s typically")

    assert [int(result.stdout) for result in results] == list(range(200))
    assert gaps[-1] < 0.5


def test_2000_commands_leave_nothing(tmp_path: Path) -> None:
    broken = script(tmp_path / "broken", "#!/nowhere\n")
    foreign = script(tmp_path / "foreign", b"\x7fELF" + bytes(100))
    kinds = [("true",), ("sh", "-c", "exit 3"), ("sh", "-c", "kill -9 $$"), ("echo", "x"), ("nowhere",)]
    kinds += [(broken,), (foreign,), ("true", "a\0b"), ("true",), ("true",)]
    runner, fds = CommandRunner(limit=8), len(open_fds())

    async def start(count: int) -> list[CommandResult | BaseException]:
        runs = (runner.run(Command(kinds[number % len(kinds)], stdin="x")) for number in range(count))
        return await asyncio.gather(*runs, return_exceptions=True)

    asyncio.run(start(100))  # what is made once, such as caches, is no leak
    started, before = time.monotonic(), rss()
    outcomes = asyncio.run(start(2000))
    seconds, growth = time.monotonic() - started, rss() - before
    print(f"2000 commands: {seconds:.1f} s, +{growth / 2**20:.1f} MiB")

    codes = [outcome.exit_code for outcome in outcomes if isinstance(outcome, CommandResult)]
    assert {code: codes.count(code) for code in codes} == {0: 800, 3: 200, -9: 200}
    assert sum(isinstance(outcome, CommandError) for outcome in outcomes) == 800
    assert len(open_fds()) == fds
    assert growth < 32 * 2**20


# Cancellation


async def cancel_after(delay: float, *argv: str, runner: CommandRunner | None = None) -> None:
    task = asyncio.ensure_future((runner or CommandRunner()).run(Command(argv)))
    await asyncio.sleep(delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("milliseconds", [*range(11), 300])
def test_a_cancelled_command_is_stopped_however_early(milliseconds: int) -> None:
    asyncio.run(cancel_after(milliseconds / 1000, "sh", "-c", "sleep 100; sleep 100"))


def test_a_cancelled_command_that_ignores_sigterm_is_killed_without_holding_up_its_caller() -> None:
    started = time.monotonic()
    asyncio.run(cancel_after(0.2, "sh", "-c", PATIENT))

    assert time.monotonic() - started < 1.5


def test_commands_that_are_cancelled_in_the_queue_never_start(tmp_path: Path) -> None:
    runner = CommandRunner(limit=1)

    async def start() -> None:
        first = asyncio.ensure_future(runner.run(Command(("sleep", "0.3"))))
        await asyncio.sleep(0.05)
        await asyncio.gather(*(cancel_after(0.1, "touch", f"{tmp_path}/{n}", runner=runner) for n in range(20)))
        await first
        await runner.run(Command(("true",)))

    asyncio.run(start())

    assert list(tmp_path.iterdir()) == []


def test_hundreds_of_cancellations_leave_nothing() -> None:
    runner = CommandRunner(limit=8)

    async def start() -> None:
        await asyncio.gather(*(cancel_after(n / 400, "sleep", "100", runner=runner) for n in range(200)))

    asyncio.run(start())


def test_a_cancel_scope_of_anyio_stops_a_command() -> None:
    anyio = pytest.importorskip("anyio")

    async def start() -> bool:
        with anyio.move_on_after(0.1) as scope:
            await CommandRunner().run(Command(("sh", "-c", PATIENT)))
        return bool(scope.cancel_called)

    started = time.monotonic()

    assert asyncio.run(start())
    assert time.monotonic() - started < 1.5


def test_a_worker_that_exits_stops_what_it_still_runs(mark: str) -> None:
    """Threads that are daemons die with the interpreter: they must get the time to kill."""
    text = f"""
import asyncio
from generic_worker.commands.runner import Command, CommandRunner
async def main():
    task = asyncio.ensure_future(CommandRunner().run(Command(("sh", "-c", {PATIENT!r}))))
    await asyncio.sleep(0.3)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", text], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})

    assert marked_processes(mark) == set()


# Faults of the machine

UNDER_A_LIMIT = """
import asyncio, json, os, resource, sys, threading, time
from generic_worker.commands.runner import Command, CommandRunner
before = len(os.listdir("/proc/self/fd"))
os.setuid(64321)
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
try:
    result = asyncio.run(CommandRunner().run(Command(("echo", "x"))))
    outcome = [result.exit_code, result.stdout]
except Exception as error:
    outcome = [type(error).__name__, str(error)]
deadline = time.monotonic() + 4  # a timer of sh runs for two seconds
while threading.active_count() > 1 and time.monotonic() < deadline:
    time.sleep(0.05)
try:
    os.waitpid(-1, os.WNOHANG)
    children = True
except ChildProcessError:
    children = False
left = [len(os.listdir("/proc/self/fd")) - before, threading.active_count() - 1, children]
print(json.dumps([outcome, left]))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs a user without other processes")
@pytest.mark.parametrize(
    ("limit", "outcome"),
    [
        (1, ["CommandError", f"cannot start 'echo': can't start new thread. {spawning.LIMITS}"]),
        (2, ["CommandError", f"cannot start 'echo': Resource temporarily unavailable. {spawning.LIMITS}"]),
        (3, [0, "x\n"]),  # the program runs, but sh gets no threads
        (4, [0, "x\n"]),
        (5, [0, "x\n"]),
    ],
)
def test_a_user_without_room_for_processes_gets_an_error_and_loses_nothing(limit: int, outcome: list[object]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_LIMIT, str(limit)],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert json.loads(done.stdout) == [outcome, [0, 0, False]]


def test_a_fork_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)

    assert refusal("true").startswith("cannot start 'true': Resource temporarily unavailable. ")


def test_a_worker_without_descriptors_gets_an_error_and_loses_nothing() -> None:
    """Each number of free descriptors fails at another place."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    outcomes = []

    async def start() -> None:
        used = {int(name) for name in open_fds()}
        free = [number for number in range(soft) if number not in used]
        for limit in free[:16]:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                outcomes.append((await CommandRunner().run(Command(("echo", "x")))).stdout)
            except CommandError as error:
                outcomes.append(str(error))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    asyncio.run(start())

    assert set(outcomes) == {"x\n", f"cannot start 'echo': Too many open files. {spawning.LIMITS}"}


def test_a_program_that_cannot_even_be_started_does_not_hold_up_its_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a dead network file system exec does not return. Whether the command ran is unknown."""

    def fork() -> int:
        time.sleep(1)
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(runner, "_STUCK_S", 0.2)
    result = run("true", timeout=0.1)

    assert (result.timed_out, result.exit_code) == (True, -signal.SIGKILL)
    assert result.seconds < 0.5
