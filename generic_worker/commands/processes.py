"""One process from fork to reap, in a thread of its own: its output, its time limit, its end."""

from __future__ import annotations

import atexit
import os
import select
import signal
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from generic_worker.commands import watchdog
from generic_worker.commands.programs import base_environment, cannot_start, open_stdin, resolve
from generic_worker.commands.spawning import LIMITS, explain, spawn
from generic_worker.errors import CommandOverdue

if TYPE_CHECKING:
    from collections.abc import Callable

    from generic_worker.commands.programs import Command

_TERM_S = 2.0  # between SIGTERM and SIGKILL, and then until a process counts as stuck in the kernel
_LINGER_S = 0.3  # for output that a command's children still hold open when it has ended
_FORK_S = 5.0  # longest wait for another thread's fork
_TICK_S = 0.05  # longest pause between two looks at a silent process
_CHUNK = 65536
_TAIL = 65536  # characters that are looked at, beside those that are shown

# One fork at a time is fastest, and sh switches the garbage collector off around it.
_fork_lock = threading.Lock()
_running: set[Execution] = set()

Outcome: TypeAlias = "CommandResult | BaseException"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended, and what it printed.

    Attributes:
        command: The command.
        exit_code: Its exit code, or the negative number of the signal that ended it.
        stdout: What it printed; bytes that are not UTF-8 are replaced.
        stderr: The same of its other stream.
        seconds: How long it took.
        timed_out: Whether it was stopped after its time limit. The output so far is there.
        truncated: Whether it printed more than is kept.
    """

    command: Command
    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool = False
    truncated: bool = False

    def describe(self, hide: Callable[[str], str]) -> str:
        """What happened, for people: the command, its end, and the last lines that it printed.

        Args:
            hide: What masks the secrets in a text. It is given texts as they are, before anything of them is cut off.
        """
        line = hide(self.command.line)
        line = line if len(line) <= 1000 else f"{line[:1000]}..."  # noqa: PLR2004 - a screenful
        printed = last_lines(self.stderr, hide, 20, 2000) or last_lines(self.stdout, hide, 20, 2000)
        return "\n    ".join([f"`{line}` {self._end()}", *printed.splitlines()])

    def _end(self) -> str:
        if self.timed_out:
            return f"was stopped after its time limit of {self.command.timeout:g} s"
        if self.exit_code >= 0:
            return f"exited {self.exit_code} after {self.seconds:.1f} s"
        try:
            name = signal.Signals(-self.exit_code).name
        except ValueError:  # the real-time signals have no names
            name = f"signal {-self.exit_code}"
        return f"was killed by {name} after {self.seconds:.1f} s"


def last_lines(text: str, hide: Callable[[str], str], lines: int = 200, room: int = 20_000) -> str:
    """The last lines of a text without its secrets, whatever its size. It is masked first and cut after.

    They have no NUL, which a state's message cannot hold where Prefect's database is PostgreSQL.

    Args:
        text: What was printed.
        hide: What masks the secrets in a text.
        lines: How many lines at most.
        room: How many characters at most.
    """
    tail = hide(text[-_TAIL - room :].rstrip()).strip("\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
    tail = "\n".join(tail.splitlines()[-lines:])
    return tail if len(tail) <= room else f"...{tail[-room:]}"


class Execution:
    """One command from fork to reap, in a thread of its own: sh blocks until the program has started.

    The thread ends about four seconds after `stop` at the latest, unless the kernel holds the process.
    """

    tick = _TICK_S

    def __init__(self, command: Command, room: int, report: Callable[[Outcome], None]) -> None:
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._main, name="generic-worker command", daemon=True)
        self._command = command
        self._report = report
        self._streams = (Stream(room), Stream(room))
        self._open: dict[int, Stream] = {}  # by descriptor, until the end of each is read
        self._poll = select.poll()
        self._process: Any = None

    def start(self) -> None:
        """Start the thread.

        Raises:
            CommandError: There is no room for one; nothing has run.
        """
        _running.add(self)
        try:
            self.thread.start()
        except RuntimeError as error:  # no room for another thread
            _running.discard(self)
            raise cannot_start(self._command, f"{error}. {LIMITS}") from error

    def _main(self) -> None:
        try:
            outcome: Outcome = self._execute()
        except BaseException as error:  # noqa: BLE001 - raised again where the command is awaited
            outcome = error
        self._report(outcome)
        if self._process and not self._ended():  # the kernel holds it; nobody has to wait for that
            self._reap()
        _running.discard(self)

    def _execute(self) -> CommandResult:
        env = base_environment() | dict(self._command.env)
        words = resolve(self._command, env)
        with ExitStack() as stack:
            started = self._start(words, env, stack)
            stack.callback(watchdog.ended, self._process.pid)
            try:
                late = self._follow(started + self._command.timeout)
            finally:
                if not self._ended():
                    self._signal(signal.SIGKILL)
        ended, code = self._ended(), self._process.exit_code
        out, err = self._streams
        return CommandResult(
            self._command,
            # 255: something else in this process has reaped it. asyncio says the same.
            (255 if code is None else code) if ended else -signal.SIGKILL,
            out.text(),
            err.text(),
            time.monotonic() - started,
            late,
            out.truncated or err.truncated,
        )

    def _start(self, words: list[str], env: dict[str, str], stack: ExitStack) -> float:
        """Start the process, and return when its time began. The stack closes our ends of its pipes."""
        locked = False
        try:
            with ExitStack() as inherited:
                fds = [open_stdin(self._command, inherited)]
                locked = _fork_lock.acquire(timeout=_FORK_S)  # one that hangs must not hold up all others
                if self.stop.is_set():
                    raise cannot_start(self._command, "it was cancelled before.")
                for stream in self._streams:
                    reader, writer = os.pipe()
                    stack.callback(os.close, reader)
                    inherited.callback(os.close, writer)
                    self._open[reader] = stream
                    self._poll.register(reader, select.POLLIN)
                    fds.append(writer)
                if not self._command.holds():
                    raise CommandOverdue(f"`{self._command.line}` was not started: its turn came too late.")
                started = time.monotonic()
                self._process = spawn(self._command, words, env, fds)
                return started
        except OSError as error:
            raise cannot_start(self._command, explain(error)) from error
        finally:
            if locked:
                _fork_lock.release()

    def _follow(self, deadline: float) -> bool:
        """Stay with the process until it has ended, or end it; returns whether its time was over."""
        late = False
        if not self._wait(deadline, self.stop):
            late = not self.stop.is_set()
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + _TERM_S
            if self._wait(deadline):
                self._drain(deadline)  # its children may need the rest of the time
            # Always, because children may outlive their parent. Within two seconds nobody else can have
            # got the group's id.
            self._signal(signal.SIGKILL)
            self._wait(time.monotonic() + _TERM_S)
        self._drain(time.monotonic() + _LINGER_S)
        if self._ended():
            self._reap()
        return late

    def _wait(self, deadline: float, stop: threading.Event | None = None) -> bool:
        """Read until the process has ended (True), or it is late, or somebody wants it to stop (False)."""
        pause = 0.001
        while not self._ended():
            left = deadline - time.monotonic()
            if left <= 0 or (stop and stop.is_set()):
                return False
            pause = 0.001 if self._read(min(left, pause)) else min(2 * pause, self.tick)
        return True

    def _drain(self, deadline: float) -> None:
        """Read until nobody holds the pipes any more, or it is late."""
        while self._open and (left := deadline - time.monotonic()) > 0:
            self._read(left)
        # However late: what the process itself printed last is in the pipes, 1 MiB at most.
        for _ in range(16):
            if not self._read(0):
                break

    def _read(self, timeout: float) -> bool:
        if not self._open:
            time.sleep(timeout)
            return False
        ready = self._poll.poll(timeout * 1000)
        for fd, _ in ready:
            chunk = os.read(fd, _CHUNK)
            self._open[fd].keep(chunk)
            if not chunk:
                self._poll.unregister(fd)
                del self._open[fd]
        return bool(ready)

    def _ended(self) -> bool:
        alive, _ = self._process.is_alive()
        return not alive

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # gone; or another user's, as with sudo
            os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        # It also ends sh's threads for this process. AttributeError: sh could not start all of them.
        with suppress(ChildProcessError, AttributeError, RuntimeError):
            self._process.wait()


class Stream:
    """Keeps the first bytes of an output, and drops the rest."""

    def __init__(self, room: int) -> None:
        self._chunks: list[bytes] = []
        self._room = room
        self.truncated = False

    def keep(self, chunk: bytes) -> None:
        """Take what was read; nothing at the end."""
        self.truncated |= len(chunk) > self._room
        if kept := chunk[: self._room]:
            self._chunks.append(kept)
            self._room -= len(kept)

    def text(self) -> str:
        """What was kept."""
        return b"".join(self._chunks).decode(errors="replace")


def _stop_all() -> None:
    """Let nothing outlive the worker that it was still waiting for."""
    executions = list(_running)
    for execution in executions:
        execution.stop.set()
    deadline = time.monotonic() + 2 * _TERM_S + 1
    for execution in executions:
        execution.thread.join(max(0.0, deadline - time.monotonic()))


atexit.register(_stop_all)
