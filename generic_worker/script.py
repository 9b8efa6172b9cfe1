"""The job script: environment, set-up, then the flow run's command. It holds secrets, so it is never an argument."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from generic_worker.errors import VariableError
from generic_worker.expressions import shell_names, shell_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from generic_worker.recipe import Script

_SHELL_NAME_RE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_TRAP = """\
# A scheduler that ends a job signals all its processes. The flow run's engine handles that and reports; the process that
# supervises it must not die first, or nobody reports and the flow run stays Running.
trap '' TERM
"""


def job_script(script: Script, values: Mapping[str, Any], names: Iterable[str]) -> str:
    """Write the job script.

    Args:
        script: How the recipe wants it.
        values: The job's values; `env` and `command` are needed, the others are for the set-up lines.
        names: The names that the set-up lines may use as shell variables.

    Raises:
        VariableError: The environment or the command cannot be written as shell.
    """
    lines = [f"#!{script.interpreter}"]
    lines += [f"export {name}={_quoted(name, value)}" for name, value in values["env"].items()]
    if script.before:
        given = {name: values.get(name) for name in shell_names(script.before, set(names) - {"env", "job_script"})}
        lines += [f"{name}={_quoted(name, shell_value(name, value))}" for name, value in given.items() if value is not None]
        lines.append(script.before.rstrip("\n"))
    return "\n".join(lines) + f"\n{_TRAP}exec {_words(values['command'])}\n"


def _quoted(name: str, value: str) -> str:
    if not _SHELL_NAME_RE.fullmatch(name):
        raise VariableError(f"env: {name!r} cannot be set by a job script: use letters, digits and underscores.")
    if "\0" in value:
        raise VariableError(f"{name}: the value has a NUL character, which no environment can hold.")
    return shlex.quote(value)


def _words(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise VariableError(f"command: {command!r} cannot be split into words: {error}.") from error
    if not words:
        raise VariableError("command: it is empty.")
    return shlex.join(words)
