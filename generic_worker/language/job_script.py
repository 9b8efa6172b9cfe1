"""Values as shell: the variables that a script is given, and the job script.

The job script holds secrets, so it is never an argument.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from generic_worker.errors import VariableError
from generic_worker.language.environment import NOT_FOR_SHELLS, shell_name
from generic_worker.language.expressions import as_text
from generic_worker.language.guardian import guarded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from generic_worker.language.recipe import Script

_MENTION_RE = re.compile(r"(\$\{?[#!]?)?([A-Za-z_][A-Za-z0-9_]*)")
_IN_BRACES_RE = re.compile(r"(?<!\\)\$\{[#!]?([a-z][a-z0-9_]*)\b(?!\s*[|(]|\.\w)")
_EXPRESSION_RE = re.compile(r"(?<!\\)(\$\{\s*([a-z][a-z0-9_]*)\s*(?:[|(]|\.\w)[^}]*\})")
_ASSIGNED_RE = re.compile(
    r"\b([A-Za-z_]\w*)\+?=|\b(?:for|select|getopts\s+\S+|printf\s+-v)\s+(\w+)"
    r"|\b(?:read|local|declare|typeset|readarray|mapfile)\b((?:[ \t]+(?:-\w+|[\w=]+))*)"
)
_PROGRAMS = frozenset({"command", "env"})
"""Names that are programs too: only behind a dollar sign do they mean ours."""


def shell_names(script: str, names: Iterable[str]) -> list[str]:
    """The names that a shell script mentions, and that it is therefore given as variables.

    A dollar sign is not needed: there is arithmetic, and a program may read its environment. It is in lines that begin
    with `#`, because those are comments or, in a here-document, directives such as `#SBATCH`.
    """
    mentioned = set()
    for line in script.splitlines():
        comment = line.lstrip().startswith("#")
        mentioned |= {
            name for dollar, name in _MENTION_RE.findall(line) if dollar or not (comment or name in _PROGRAMS)
        }
    return sorted(mentioned.intersection(names))


def unset_names(script: str) -> frozenset[str]:
    """The lower-case names that a shell script has in braces, and does not set itself."""
    own = {name for found in _ASSIGNED_RE.findall(script) for group in found for name in re.findall(r"\w+", group)}
    return frozenset(_IN_BRACES_RE.findall(script)) - own


def expressions_in(script: str) -> list[tuple[str, str]]:
    """What a shell script has in braces that is ours and not the shell's, such as `${x | join}`; and the first name."""
    found: list[tuple[str, str]] = _EXPRESSION_RE.findall(script)
    return found


def shell_value(name: str, value: Any) -> str:  # noqa: ANN401
    """A value as a shell variable: a list is one item per line, a mapping is JSON.

    Raises:
        VariableError: An item of a list has a line break, so that it would become two.
    """
    if isinstance(value, list) and all(isinstance(item, (str, int, float)) for item in value):
        items = [as_text(item, name) for item in value]
        if any("\n" in item for item in items):
            raise VariableError(f"{name}: an item with a line break cannot be an item of a list in a shell script.")
        return "\n".join(items)
    return json.dumps(value) if isinstance(value, (list, dict)) else as_text(value, name)


def assignment(name: str, value: str) -> str:
    """`NAME='value'`, whatever the value is.

    It holds no carriage return: sbatch refuses scripts with DOS line breaks. No line of it begins with `#`: Grid Engine
    takes `#$` for options wherever it stands in a script, as others do `#BSUB`, `#SBATCH`, `#PBS` near its start.
    """
    quoted = shlex.quote(value).replace("\r", """'"$(printf '\\r')"'""")
    return f"{shell_name(name)}={_without_directives(quoted)}"


def _without_directives(quoted: str) -> str:
    """Quoted text of which no line begins with `#`. A line break in it is always between apostrophes."""
    return quoted.replace("\n#", "\n''#")


def job_script(script: Script, values: Mapping[str, Any], names: Iterable[str]) -> str:
    """Write the job script.

    Args:
        script: How the recipe wants it.
        values: The job's values; `env` and `command` are needed, the others are for the set-up lines.
        names: The names that the set-up lines may use as shell variables.

    Raises:
        VariableError: The environment or the command cannot be written as shell.
    """
    exported = {name: assignment(name, value) for name, value in values["env"].items()}
    elsewhere = [exported.pop(name) for name in sorted(NOT_FOR_SHELLS & set(exported))]
    lines = [f"#!{script.interpreter}", *(f"export {text}" for text in exported.values())]
    if script.before:
        for name in (given := shell_names(script.before, set(names) - {"env", "job_script"})):
            value = values.get(name)
            lines.append(f"unset {name}" if value is None else assignment(name, shell_value(name, value)))
        lines.append(script.before.rstrip("\n"))
        lines += [f"export {exported[name]}" for name in given if name in exported]  # the job's own, again
    env = f"env {' '.join(elsewhere)} " if elsewhere else ""
    return "\n".join(lines) + "\n" + guarded(env + _words(values["command"]), values.get("job_key") or "none")


def _words(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise VariableError(f"command: {command!r} cannot be split into words: {error}.") from error
    if not words:
        raise VariableError("command: it is empty.")
    return _without_directives(shlex.join(words))
