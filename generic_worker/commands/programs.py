"""A command as data, and all that can be wrong with it before it runs: its words, its variables, its program.

What fails after the fork costs more and says less. It starts nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from generic_worker.errors import CommandError, CommandNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

_MAX_WORD = 32 * os.sysconf("SC_PAGE_SIZE")  # Linux: one argument or variable, with its NUL (MAX_ARG_STRLEN)
_MAX_WORDS = 6 * 2**20  # Linux: all of them, whatever the limit of the stack says


Holds: TypeAlias = "Callable[[], bool]"
"""Says whether what something is to be done for still holds."""


def always() -> bool:
    """Say that it does, whatever it is."""
    return True


@dataclass(frozen=True, slots=True)
class Command:
    """One command to run: argument vector, standard input, environment, limits.

    Attributes:
        argv: The program and its arguments. The program sees its absolute path as its own name.
        stdin: What it reads; an empty text is at its end at once.
        env: Variables added to `base_environment`, or replacing some of it.
        timeout: Seconds that it may take.
        cwd: Its working directory; the worker's if absent.
        operation: The recipe's operation that it is of, such as `submit`.
        holds: Whether what it is to be run for still holds: asked right before the fork, in a thread of its own.
        marked: What is run instead of `argv`, so that marks stand around its output; empty where nothing else is.
    """

    argv: tuple[str, ...]
    stdin: str | bytes = field(default="", repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 60.0
    cwd: str | None = None
    operation: str = ""
    holds: Holds = field(default=always, repr=False, compare=False)
    marked: tuple[str, ...] = field(default=(), repr=False)

    @property
    def line(self) -> str:
        """The argument vector as one line that a person can paste into a shell."""
        return shlex.join(self.argv)


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


def resolve(command: Command, env: Mapping[str, str]) -> list[str]:
    """The words to execute, checked: what fails after the fork costs more and says less."""
    _check_words(command, env)
    cwd = command.cwd
    if cwd is not None and ("\0" in cwd or not (os.access(cwd, os.X_OK) and Path(cwd).is_dir())):
        raise cannot_start(command, f"its working directory {cwd!r} cannot be entered. Create it, or correct cwd.")
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
            raise cannot_start(command, f"{name!r} cannot be the name of a variable. Rename it.")
        # The worker's own variables may hold any bytes: Python has them as surrogates.
        size += _measure(command, f"variable {name!r}", value, f"{name}=", "surrogateescape")
    limit = os.sysconf("SC_ARG_MAX")
    limit = min(limit, _MAX_WORDS) if limit > 0 else _MAX_WORDS
    if size > limit - 4096:  # the path of the program and of its interpreter count too
        why = f"its arguments and variables take {size} bytes of {limit}. Pass long values in a file."
        raise cannot_start(command, why)


def _measure(command: Command, what: str, word: object, prefix: str = "", errors: str = "strict") -> int:
    """The bytes that a word takes in the new process, with its pointer."""
    if not isinstance(word, str):
        raise cannot_start(command, f"{what} is {type(word).__name__}, not text. Convert it to text.")
    try:
        data = f"{prefix}{word}".encode(errors=errors)
    except UnicodeEncodeError:
        raise cannot_start(command, f"{what} is not valid text. Give it in UTF-8.") from None
    if b"\0" in data:
        raise cannot_start(command, f"{what} holds a NUL byte. Pass binary data in a file.")
    if len(data) >= _MAX_WORD:
        why = f"{what} has {len(data)} bytes, and {_MAX_WORD - 1} is the limit. Pass it in a file."
        raise cannot_start(command, why)
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
    raise cannot_start(command, why, CommandNotFound)


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
            raise cannot_start(command, why, CommandNotFound)
        return []
    return [] if b"\0" in head else ["/bin/sh"]  # a NUL byte: machine code


def open_stdin(command: Command, stack: ExitStack) -> int:
    """A descriptor to read standard input from: a file, because sh feeds a pipe at 10 MB a second."""
    if not command.stdin:
        fd = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, fd)
        return fd
    try:
        data = command.stdin.encode() if isinstance(command.stdin, str) else command.stdin
    except UnicodeEncodeError:
        raise cannot_start(command, "its standard input is not valid text. Give it in UTF-8.") from None
    if hasattr(os, "memfd_create"):
        file = stack.enter_context(os.fdopen(os.memfd_create("stdin"), "w+b"))
    else:
        file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    file.write(data)
    file.seek(0)
    return file.fileno()


def cannot_start(command: Command, why: str, kind: type[CommandError] = CommandError) -> CommandError:
    """The error that says which command cannot be started, and why."""
    return kind(f"cannot start {command.argv[0]!r:.200}: {why}")
