"""A program that goes on in the background until it is ended, such as the demo's server. Recipes have `commands`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import sh

from generic_worker.commands.runner import CommandRunner  # noqa: F401 - it silences sh's log before anything is started

if TYPE_CHECKING:
    from collections.abc import Sequence


class Service:
    """A background program in a session of its own, with this process's environment.

    Args:
        argv: The program and its arguments.
        log: The file that its output goes to.
    """

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        with log.open("wb") as output, Path(os.devnull).open("rb") as nothing:
            self._running = sh.Command(argv[0])(
                list(argv[1:]),
                _bg=True,
                _bg_exc=False,
                _new_session=True,
                _tty_in=False,
                _tty_out=False,
                _in=nothing,
                _out=output,
                _err_to_out=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return bool(self._running.is_alive())

    def kill(self) -> None:
        """End it, and everything in its process group, at once."""
        if self.alive:
            self._running.kill_group()
