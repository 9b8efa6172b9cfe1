"""`generic-worker` from its arguments to its exit code.

Exit codes: 0 fine, 1 the recipe is wrong, 2 the call is wrong, 3 a defect of this program, 130 interrupted. Results
are on standard output, messages on standard error.
"""

from __future__ import annotations

import io
import os
import platform
import re
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from cyclopts import CycloptsError, UnusedCliTokensError

from generic_worker import __version__
from generic_worker.cli import checking, pool  # noqa: F401 - its commands are the command's
from generic_worker.cli.app import OK, STDIN, WRONG_CALL, WRONG_RECIPE, CallError, app, say
from generic_worker.errors import RecipeError, VariableError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFECT, INTERRUPTED, UNREAD = 3, 130, 141


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit."""
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115 - `2>&-`: nobody wants the messages
    if sys.stdout is None:
        say("Standard output is closed: there is nowhere to print.")
        sys.exit(WRONG_CALL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `generic-worker schema | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except OSError as error:  # a full disk, where the results go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        say(f"{error.filename or 'Standard output'}: {error.strerror}.")
        return WRONG_CALL
    except Exception:  # noqa: BLE001 - whatever it is, it is a defect of ours
        traceback.print_exc()
        say(f"This is a defect of prefect-generic-worker. Report it with the lines above and: {_versions()}.")
        return DEFECT


def _run(arguments: Sequence[str]) -> int:
    try:
        tokens = [STDIN if argument == "-" else argument for argument in arguments]
        if tokens[:1] == ["help"]:
            tokens = [*tokens[1:], "--help"]
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except UnusedCliTokensError as error:
        said = " ".join(error.unused_tokens or [])
        say(f"There is nothing that {said!r} could mean here. See: generic-worker --help")
        return WRONG_CALL
    except CycloptsError as error:
        said = re.sub(r"\s*Available commands: .*", "", str(error), flags=re.DOTALL)
        say(f"{said.rstrip('.?')}{'?' if said.endswith('?') else '.'} See: generic-worker --help")
        return WRONG_CALL
    try:
        code = command(*bound.args, **bound.kwargs)
    except (CallError, VariableError) as error:
        say(str(error))
        return WRONG_CALL
    except RecipeError as error:
        say(str(error))
        return WRONG_RECIPE
    except OSError as error:
        if error.filename is None:
            raise
        say(f"{error.filename}: {error.strerror}.")
        return WRONG_CALL
    sys.stdout.flush()
    return code if isinstance(code, int) else OK


def _versions() -> str:
    found = [f"prefect-generic-worker {__version__}"]
    for name in ("prefect", "pydantic", "cyclopts"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} is not installed")
    return ", ".join([*found, f"Python {platform.python_version()}", platform.platform()])
