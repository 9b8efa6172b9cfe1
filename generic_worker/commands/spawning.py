"""Starts a program with sh, and releases what sh leaks when that fails.

A program gets no terminal, no descriptor of the worker but its own three, and a session and process group of its own.
"""

from __future__ import annotations

import gc
import glob
import logging
import os
import re
import traceback
from contextlib import suppress
from errno import E2BIG, EAGAIN, EMFILE, ENFILE, ENOMEM
from typing import TYPE_CHECKING, Any

import sh

from generic_worker.commands import watchdog
from generic_worker.commands.programs import cannot_start

if TYPE_CHECKING:
    from generic_worker.commands.programs import Command

if glob.glob.__module__ == "sh":  # importing sh replaces it, for every user of this process
    glob.glob = glob.glob.__globals__["_old_glob"]
# sh writes whole argument vectors at INFO, and they may hold secrets.
logging.getLogger("sh").setLevel(logging.CRITICAL + 1)

LIMITS = "The worker's limits (processes, open files, memory) are too low, or its load is too high."
_HINTS = dict.fromkeys((EAGAIN, EMFILE, ENFILE, ENOMEM), LIMITS) | {E2BIG: "Pass long values in a file."}


def spawn(command: Command, words: list[str], env: dict[str, str], fds: list[int]) -> Any:  # noqa: ANN401
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
            _preexec_fn=watchdog.begins,
        ).process
    except BaseException as error:  # noqa: BLE001 - whatever it is, sh has left something behind
        if os.getpid() != parent:  # an interrupt in the child: it must not go on as a second worker
            os._exit(255)
        if (process := _salvage(error)) is not None:
            return process
        raise cannot_start(command, explain(error)) from None  # its text is sh's own code
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
        watchdog.ended(process.pid)
        if isinstance(error, sh.ForkException):
            fds.append(names.get("session_pipe_write"))
    else:
        fds += [names.get(name) for name in ("session_pipe_write", "exc_pipe_read", "exc_pipe_write")]
        fds += [getattr(process, f"_{name}_child_fd", None) for name in ("stdin", "stdout", "stderr")]
    for fd in fds:
        if fd is not None:
            os.close(fd)
    return None


def explain(error: BaseException) -> str:
    """Why a program could not be started, and what to do."""
    number = error.errno if isinstance(error, OSError) else None
    if match := isinstance(error, sh.ForkException) and re.search(r"\[Errno (\d+)\]", str(error)):
        number = int(match[1])  # sh hands on the child's traceback as text
    if number is None:
        return f"{type(error).__name__} before it ran. Check the program."
    return f"{os.strerror(number)}. {_HINTS.get(number, 'Check the program and what its first line names.')}"
