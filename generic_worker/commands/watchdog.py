"""A process that outlives this one for a moment, and ends the commands that it has left, however it was killed.

A command is a process group of its own, so nothing else would end one that hangs: not the kernel, and not a terminal.
The kernel can end a process with its parent (`PR_SET_PDEATHSIG`), but not that process's children.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

_SCRIPT = """
trap '' HUP INT TERM
groups=' '
while read -r what group; do
  case $what$groups in
    begins*) groups="$groups$group " ;;
    *" $group "*) groups="${groups%% $group *} ${groups#* $group }" ;;
  esac
done
[ -n "${groups# }" ] || exit 0
for group in $groups; do kill -s TERM -- "-$group"; done
sleep 2
for group in $groups; do kill -s KILL -- "-$group"; done
"""
"""The end of its input is the end of this process, which alone holds the other side of the pipe."""

_watchdog: subprocess.Popen[bytes] | None = None


def start_watchdog() -> None:
    """Let all commands end with this process from now on. Where there is no room for another process, they do not."""
    global _watchdog  # noqa: PLW0603 - a process has one, whatever is started twice in it
    if _watchdog is None:
        with contextlib.suppress(OSError):
            _watchdog = subprocess.Popen(  # noqa: S603 - what runs is a constant
                ["/bin/sh", "-c", _SCRIPT, "generic-worker-watchdog"],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.defpath},
                start_new_session=True,
            )
            os.set_blocking(_watchdog.stdin.fileno(), False)  # type: ignore[union-attr]  # one that is stopped stops nothing


def begins() -> None:
    """Say in a new process group, before its program runs, that it is there: so none is missed."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _tell("begins", os.getpid())
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def ended(group: int) -> None:
    """Say that a process group is not to be ended any more: its id may soon be another's."""
    _tell("ended", group)


def _tell(what: str, group: int) -> None:
    if _watchdog is not None and _watchdog.stdin is not None:
        with contextlib.suppress(OSError):  # somebody has ended it
            _watchdog.stdin.write(f"{what} {group}\n".encode())
