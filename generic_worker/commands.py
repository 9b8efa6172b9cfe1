"""Runs one command with sh, and bounds its time, its memory and its processes.

The only module that starts processes. It refuses to interpret: it reads no output, judges no exit code,
tries nothing again and logs nothing. A command gets no terminal, no shell that it did not ask for, no
descriptor and no `PREFECT_*` variable of the worker, and a session and process group of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import glob
import logging
import os
import re
import select
import shlex
import signal
import tempfile
import threading
import time
import traceback
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from errno import E2BIG, EAGAIN, EMFILE, ENFILE, ENOMEM
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

import sh

from generic_worker.errors import CommandError, CommandNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

if glob.glob.__module__ == "sh":  # importing sh replaces it, for every user of this process
    glob.glob = glob.glob.__globals__["_old_glob"]
# sh writes whole argument vectors at INFO, and they may hold secrets.
logging.getLogger("sh").setLevel(logging.CRITICAL + 1)

_TERM_S = 2.0  # between SIGTERM and SIGKILL, and then until a process counts as stuck in the kernel
_LINGER_S = 0.3  # for output that a command's children still hold open when it has ended
_STUCK_S = 15.0  # beyond the time limit; a program on a dead network file system cannot even be started
_FORK_S = 5.0  # longest wait for another thread's fork
_TICK_S = 0.05  # longest pause between two looks at a silent process
_CHUNK = 65536
_MAX_WORD = 32 * os.sysconf("SC_PAGE_SIZE")  # Linux: one argument or variable, with its NUL (MAX_ARG_STRLEN)
_MAX_WORDS = 6 * 2**20  # Linux: all of them, whatever the limit of the stack says
_LIMITS = "The worker's limits (processes, open files, memory) are too low, or its load is too high."
_HINTS = dict.fromkeys((EAGAIN, EMFILE, ENFILE, ENOMEM), _LIMITS) | {E2BIG: "Pass long values in a file."}

# One fork at a time is fastest, and sh switches the garbage collector off around it.
_fork_lock = threading.Lock()
_running: set[_Execution] = set()

_Outcome: TypeAlias = "CommandResult | BaseException"
_Gates: TypeAlias = tuple[asyncio.Semaphore, asyncio.Lock]


@dataclass(frozen=True, slots=True)
class Command:
    """One command to run: argument vector, standard input, environment, limits.

    Attributes:
        argv: The program and its arguments. The program sees its absolute path as its own name.
        stdin: What it reads; an empty text is at its end at once.
        env: Variables added to `base_environment`, or replacing some of it.
        timeout: Seconds that it may take.
        cwd: Its working directory; the worker's if absent.
    """

    argv: tuple[str, ...]
    stdin: str | bytes = field(default="", repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 60.0
    cwd: str | None = None

    @property
    def line(self) -> str:
        """The argument vector as one line that a person can paste into a shell."""
        return shlex.join(self.argv)


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

    def describe(self) -> str:
        """What happened, for people: the command, its end, and the last lines that it printed."""
        line = self.command.line
        line = line if len(line) <= 1000 else f"{line[:1000]}..."  # noqa: PLR2004 - a screenful
        printed = self.stderr if self.stderr.strip() else self.stdout
        tail = "\n".join(printed.strip("\n").splitlines()[-20:])
        tail = tail if len(tail) <= 2000 else f"...{tail[-2000:]}"  # noqa: PLR2004 - a screenful
        return "\n    ".join([f"`{line}` {self._end()}", *tail.splitlines()])

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


class CommandRunner:
    """Runs commands, a bounded number at once per event loop.

    A command that leaves a process behind on purpose (`job &`) has ended when it has ended itself: what it
    left runs on, in its process group or not. It must have redirected its output, because nobody reads it
    any more. Only a time limit, a cancellation and the end of the worker stop the whole process group.
    """

    def __init__(self, limit: int = 4, max_output: int = 32 * 2**20) -> None:
        self._limit = limit
        self._max_output = max_output
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, _Gates] = WeakKeyDictionary()

    async def run(self, command: Command) -> CommandResult:
        """Run a command to its end.

        A cancelled caller does not wait: the command's own thread stops the process group, within about
        four seconds, even if the worker is about to exit.

        Raises:
            CommandNotFound: Its program is not there, or cannot be executed.
            CommandError: It cannot be started for another reason; nothing has run.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Outcome] = loop.create_future()

        def report(outcome: _Outcome) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(answer.set_result, outcome)

        slots, turn = self._gates.setdefault(loop, (asyncio.Semaphore(self._limit), asyncio.Lock()))
        async with slots:
            execution = _Execution(command, self._max_output, report)
            try:
                async with turn:  # a new thread may have to wait for a fork: the loop has a turn in between
                    execution.start()
                    await asyncio.sleep(0)
                await asyncio.wait({answer}, timeout=command.timeout + _STUCK_S)
            finally:
                execution.stop.set()
        if not answer.done():  # the kernel holds its thread; whether the command has run is unknown
            seconds = command.timeout + _STUCK_S
            return CommandResult(command, -signal.SIGKILL, "", "", seconds, timed_out=True)
        outcome = answer.result()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def base_environment() -> dict[str, str]:
    """The worker's environment without Prefect's settings.

    Schedulers hand their environment on to jobs, and those settings hold API keys and database passwords.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def find_program(name: str, path: str | None = None) -> str | None:
    """The absolute path of a program, looked up as exec does; None if there is none.

    Args:
        name: Its name; one with a slash is a path, relative to the working directory.
        path: A PATH to search instead of the worker's.
    """
    found = (place for place in _places(name, path, None) if _executable(place))
    return next(found, None)


def _places(name: str, path: str | None, cwd: str | None) -> list[str]:
    if not name or "\0" in name:
        return []
    path = os.environ.get("PATH", os.defpath) if path is None else path
    folders = [""] if "/" in name else path.split(os.pathsep)
    return [os.path.abspath(Path(cwd or "", folder, name)) for folder in folders]  # noqa: PTH100 - as sh does


def _executable(path: str) -> bool:
    return os.access(path, os.X_OK) and Path(path).is_file()


class _Execution:
    """One command from fork to reap, in a thread of its own: sh blocks until the program has started.

    The thread ends about four seconds after `stop` at the latest, unless the kernel holds the process.
    """

    def __init__(self, command: Command, room: int, report: Callable[[_Outcome], None]) -> None:
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._main, name="generic-worker command", daemon=True)
        self._command = command
        self._report = report
        self._streams = (_Stream(room), _Stream(room))
        self._open: dict[int, _Stream] = {}  # by descriptor, until the end of each is read
        self._poll = select.poll()
        self._process: Any = None

    def start(self) -> None:
        _running.add(self)
        try:
            self.thread.start()
        except RuntimeError as error:  # no room for another thread
            _running.discard(self)
            raise _cannot_start(self._command, f"{error}. {_LIMITS}") from error

    def _main(self) -> None:
        try:
            outcome: _Outcome = self._execute()
        except BaseException as error:  # noqa: BLE001 - raised again where the command is awaited
            outcome = error
        self._report(outcome)
        if self._process and not self._ended():  # the kernel holds it; nobody has to wait for that
            self._reap()
        _running.discard(self)

    def _execute(self) -> CommandResult:
        env = base_environment() | dict(self._command.env)
        words = _resolve(self._command, env)
        with ExitStack() as stack:
            started = self._start(words, env, stack)
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
                fds = [_open_stdin(self._command, inherited)]
                locked = _fork_lock.acquire(timeout=_FORK_S)  # one that hangs must not hold up all others
                if self.stop.is_set():
                    raise _cannot_start(self._command, "it was cancelled before.")
                for stream in self._streams:
                    reader, writer = os.pipe()
                    stack.callback(os.close, reader)
                    inherited.callback(os.close, writer)
                    self._open[reader] = stream
                    self._poll.register(reader, select.POLLIN)
                    fds.append(writer)
                started = time.monotonic()
                self._process = _spawn(self._command, words, env, fds)
                return started
        except OSError as error:
            raise _cannot_start(self._command, _explain(error)) from error
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
            pause = 0.001 if self._read(min(left, pause)) else min(2 * pause, _TICK_S)
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


class _Stream:
    """Keeps the first bytes of an output, and drops the rest."""

    def __init__(self, room: int) -> None:
        self._chunks: list[bytes] = []
        self._room = room
        self.truncated = False

    def keep(self, chunk: bytes) -> None:
        self.truncated |= len(chunk) > self._room
        if kept := chunk[: self._room]:
            self._chunks.append(kept)
            self._room -= len(kept)

    def text(self) -> str:
        return b"".join(self._chunks).decode(errors="replace")


def _spawn(command: Command, words: list[str], env: dict[str, str], fds: list[int]) -> Any:  # noqa: ANN401
    """Fork and exec; returns sh's process once the program runs."""
    parent, collecting = os.getpid(), gc.isenabled()
    stdin, stdout, stderr = fds
    try:
        start: Any = sh.Command(words[0])
        # `_async` only means: do not wait. The pipes are ours because sh's own readers wait two seconds for
        # children that hold them open, and its own time limit loses output and leaves grandchildren.
        return start(
            words[1:],
            _in=stdin,
            _out=stdout,
            _err=stderr,
            _env=env,
            _cwd=command.cwd,
            _async=True,
            _new_session=True,
            _tty_in=False,
            _tty_out=False,
            _log_msg=lambda *_: "a command",
        ).process
    except BaseException as error:  # noqa: BLE001 - whatever it is, sh has left something behind
        if os.getpid() != parent:  # an interrupt in the child: it must not go on as a second worker
            os._exit(255)
        if (process := _salvage(error)) is not None:
            return process
        raise _cannot_start(command, _explain(error)) from None  # its text is sh's own code
    finally:
        if collecting:
            gc.enable()  # sh leaves it off when the fork fails


def _salvage(error: BaseException) -> Any:  # noqa: ANN401
    """Release what sh 2.4 leaves when it fails half-way: descriptors and a zombie that only its frame knows.

    Returns the process if it runs after all, and only sh's threads for it are missing.
    """
    frames = (frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__))
    names = next((names for names in frames if type(names.get("self")).__name__ == "OProc"), {})
    process: Any = names.get("self")
    if getattr(process, "sid", None):
        return process
    fds = [names.get("session_pipe_read")]
    if hasattr(process, "pid"):
        with suppress(ChildProcessError):
            os.waitpid(process.pid, 0)
        if isinstance(error, sh.ForkException):
            fds.append(names.get("session_pipe_write"))
    else:
        fds += [names.get(name) for name in ("session_pipe_write", "exc_pipe_read", "exc_pipe_write")]
        fds += [getattr(process, f"_{name}_child_fd", None) for name in ("stdin", "stdout", "stderr")]
    for fd in fds:
        if fd is not None:
            os.close(fd)
    return None


def _open_stdin(command: Command, stack: ExitStack) -> int:
    """A descriptor to read standard input from: a file, because sh feeds a pipe at 10 MB a second."""
    if not command.stdin:
        fd = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, fd)
        return fd
    try:
        data = command.stdin.encode() if isinstance(command.stdin, str) else command.stdin
    except UnicodeEncodeError:
        raise _cannot_start(command, "its standard input is not valid text. Give it in UTF-8.") from None
    if hasattr(os, "memfd_create"):
        file = stack.enter_context(os.fdopen(os.memfd_create("stdin"), "w+b"))
    else:
        file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    file.write(data)
    file.seek(0)
    return file.fileno()


def _resolve(command: Command, env: Mapping[str, str]) -> list[str]:
    """The words to execute, checked: what fails after the fork costs more and says less."""
    _check_words(command, env)
    cwd = command.cwd
    if cwd is not None and ("\0" in cwd or not (os.access(cwd, os.X_OK) and Path(cwd).is_dir())):
        raise _cannot_start(command, f"its working directory {cwd!r} cannot be entered. Create it, or correct cwd.")
    program = _locate(command, env.get("PATH", os.defpath))
    return [*_interpreter(command, program), program, *command.argv[1:]]


def _check_words(command: Command, env: Mapping[Any, str]) -> None:
    if not command.argv:
        raise CommandError("cannot start a command without words. Name a program.")
    size = 0
    for position, word in enumerate(command.argv):
        size += _measure(command, f"argument {position}" if position else "its name", word)
    for name, value in env.items():
        if not isinstance(name, str) or not name or "=" in name:
            raise _cannot_start(command, f"{name!r} cannot be the name of a variable. Rename it.")
        # The worker's own variables may hold any bytes: Python has them as surrogates.
        size += _measure(command, f"variable {name!r}", value, f"{name}=", "surrogateescape")
    limit = os.sysconf("SC_ARG_MAX")
    limit = min(limit, _MAX_WORDS) if limit > 0 else _MAX_WORDS
    if size > limit - 4096:  # the path of the program and of its interpreter count too
        why = f"its arguments and variables take {size} bytes of {limit}. Pass long values in a file."
        raise _cannot_start(command, why)


def _measure(command: Command, what: str, word: object, prefix: str = "", errors: str = "strict") -> int:
    """The bytes that a word takes in the new process, with its pointer."""
    if not isinstance(word, str):
        raise _cannot_start(command, f"{what} is {type(word).__name__}, not text. Convert it to text.")
    try:
        data = f"{prefix}{word}".encode(errors=errors)
    except UnicodeEncodeError:
        raise _cannot_start(command, f"{what} is not valid text. Give it in UTF-8.") from None
    if b"\0" in data:
        raise _cannot_start(command, f"{what} holds a NUL byte. Pass binary data in a file.")
    if len(data) >= _MAX_WORD:
        why = f"{what} has {len(data)} bytes, and {_MAX_WORD - 1} is the limit. Pass it in a file."
        raise _cannot_start(command, why)
    return len(data) + 9


def _locate(command: Command, path: str) -> str:
    name = command.argv[0]
    places = _places(name, path, command.cwd)
    if found := next(filter(_executable, places), None):
        return found
    there = next((place for place in places if os.access(place, os.F_OK)), None)
    if there and Path(there).is_dir():
        why = f"{there!r} is a directory. Name the program in it."
    elif there:
        why = f"{there!r} is not executable. Run `chmod +x` on it, or start it with its interpreter."
    elif "/" in name:
        why = "there is no such file. Correct its path in the recipe, or install it."
    else:
        whose = "that its own env sets" if "PATH" in command.env else "of this worker"
        why = f"not found on PATH {whose}. Install it, or write its full path in the recipe."
    raise _cannot_start(command, why, CommandNotFound)


def _interpreter(command: Command, program: str) -> list[str]:
    """The shell for a script without `#!`, as execvp does; refuses one whose interpreter is not there."""
    try:
        with Path(program).open("rb") as file:
            head = file.read(256)
    except OSError:  # a program may be executable without being readable
        return []
    if match := re.match(rb"#![ \t]*([^ \t\n\0]+)", head):
        interpreter = os.fsdecode(match[1])
        if not _executable(str(Path(command.cwd or "", interpreter))):
            why = f"its interpreter {interpreter!r} cannot be executed. Correct line 1 of {program!r}."
            raise _cannot_start(command, why, CommandNotFound)
        return []
    return [] if b"\0" in head else ["/bin/sh"]  # a NUL byte: machine code


def _cannot_start(command: Command, why: str, kind: type[CommandError] = CommandError) -> CommandError:
    return kind(f"cannot start {command.argv[0]!r:.200}: {why}")


def _explain(error: BaseException) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if match := isinstance(error, sh.ForkException) and re.search(r"\[Errno (\d+)\]", str(error)):
        number = int(match[1])  # sh hands on the child's traceback as text
    if number is None:
        return f"{type(error).__name__} before it ran. Check the program."
    return f"{os.strerror(number)}. {_HINTS.get(number, 'Check the program and what its first line names.')}"


def _stop_all() -> None:
    """Let nothing outlive the worker that it was still waiting for."""
    executions = list(_running)
    for execution in executions:
        execution.stop.set()
    deadline = time.monotonic() + 2 * _TERM_S + 1
    for execution in executions:
        execution.thread.join(max(0.0, deadline - time.monotonic()))


atexit.register(_stop_all)
