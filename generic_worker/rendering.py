"""An operation of a recipe and a job's values in, the exact command out: arguments, standard input, environment.

Nothing is run here. This is where secrets are kept out of argument vectors, and values out of shell syntax.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generic_worker.commands import Command
from generic_worker.errors import VariableError
from generic_worker.expressions import compile_text, names_in, render_document, render_structure, render_words
from generic_worker.expressions import shell_names, shell_value
from generic_worker.script import job_script

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from generic_worker.recipe import Operation, Recipe

_HOST_VARIABLE_RE = re.compile(
    r"PATH|IFS|ENV|BASH_ENV|SHELLOPTS|HOME|SHELL|LD_.*|DYLD_.*|GCONV_PATH|PYTHON.*|PERL.*|RUBY.*|NODE_.*"
)
"""Variables that change how a program on the worker's host runs. A deployment sets them for its job, not for us."""

_SECRET_WORDS = frozenset({
    "auth", "credential", "credentials", "dsn", "headers", "key", "keys", "pass", "passphrase", "passwd", "password",
    "private", "pwd", "secret", "secrets", "token", "tokens",
})  # fmt: skip
_SECRET_URL_RE = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_SHORTEST_SECRET = 8

_FAR_SIDE = (
    'IFS= read -r n && vars=$(dd bs=1 count="$n" 2>/dev/null) && [ "$vars" ] && eval "$vars" && unset vars n && exec "$@"; '
    'echo "generic-worker: no standard input arrived: via has to pass it on, as docker exec -i does" >&2; exit 125'
)
"""What sets the environment behind a transport that passes none: its text comes first on standard input."""


def worker_host() -> str:
    """The name of this host, as `worker_host` in expressions."""
    return socket.gethostname()


def jobs_directory(recipe: Recipe) -> Path:
    """Where the private directories of a recipe's jobs are: by host, because homes are often shared between hosts."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "prefect-generic-worker" / worker_host() / recipe.name


def host_values(recipe: Recipe, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What expressions may name where there is no job: the variables and this host.

    Args:
        recipe: The recipe.
        variables: Values of its variables. An empty text counts as no value, as an emptied field of a form does.
    """
    return {
        **{name: None if value == "" else value for name, value in variables.items()},
        "worker_host": worker_host(),
        "worker_bin": str(Path(sys.executable).parent),
        "jobs_dir": str(jobs_directory(recipe)),
    }


def job_values(recipe: Recipe, variables: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that expressions may name for one job, but what is only known once it is submitted.

    Args:
        recipe: The recipe.
        variables: Values of its variables.
        job: `job_key`, `job_name`, `command`, `env`, `labels` and the names of the flow run.
    """
    job_dir = jobs_directory(recipe) / job["job_key"]
    files = {f"file_{name}": str(job_dir / name) for name in recipe.files}
    return {**host_values(recipe, variables), "job_dir": str(job_dir), **files, **job}


def uses_directory(recipe: Recipe) -> bool:
    """Whether any command of a recipe needs its jobs to have a private directory."""
    return bool(recipe.files) or any({"job_dir", "jobs_dir"} & used_names(recipe, op) for _, op in recipe.operations())


def used_names(recipe: Recipe, operation: Operation) -> frozenset[str]:
    """The names on which an operation's command depends."""
    if isinstance(operation.run, str):
        own = frozenset(shell_names(operation.run, recipe.names))
    else:
        own = names_in(operation.run)
    via = names_in(recipe.via.run) if recipe.via else frozenset()
    return own | via | names_in(operation.stdin) | names_in(recipe.env) | names_in(operation.env)


def render_files(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, str]:
    """The contents of a job's private files, by name.

    Raises:
        VariableError: The values do not suit an expression.
    """
    return {
        name: render_document(content, with_script(recipe, values, content)) for name, content in recipe.files.items()
    }


def with_script(recipe: Recipe, values: Mapping[str, Any], structure: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """The values with `job_script`, written only where something names it: it is long, and made once."""
    if "job_script" not in names_in(structure):
        return values
    return {**values, "job_script": job_script(recipe.script, values, recipe.names)}


def render(recipe: Recipe, operation: Operation, values: Mapping[str, Any]) -> Command:
    """The command of an operation for one job, or for many when the values have `job_ids`.

    Raises:
        VariableError: A value does not suit an expression, or would put a secret on the command line.
    """
    environment = _environment(recipe.env, values) | _environment(operation.env, values)
    if isinstance(operation.run, str):
        argv, variables = _shell_form(recipe, operation.run, values)
    else:
        argv, variables = render_words(operation.run, values), {}
    stdin = render_document(operation.stdin, with_script(recipe, values, operation.stdin))
    environment |= variables
    if recipe.via:
        near = render_words(recipe.via.run, values)
        if environment:
            argv = ["/bin/sh", "-c", _FAR_SIDE, "sh", *argv]
            stdin = _assignments(environment) + stdin
        argv = [*near, shlex.join(argv)] if recipe.via.quote else [*near, *argv]
    command = Command(tuple(argv), stdin, environment, operation.timeout)
    _refuse_secrets(operation, command.argv, values)
    return command


def _shell_form(recipe: Recipe, script: str, values: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    if "job_script" in shell_names(script, ["job_script"]):
        values = {**values, "job_script": job_script(recipe.script, values, recipe.names)}
    mentioned = shell_names(script, recipe.names)
    given = {name: shell_value(name, value) for name in mentioned if (value := values.get(name)) is not None}
    unset = [name for name in mentioned if name not in given]
    prefix = f"unset {' '.join(unset)}; " if unset else ""
    return ["/bin/sh", "-c", prefix + script], given


def _environment(env: dict[str, str] | str, values: Mapping[str, Any]) -> dict[str, str]:
    if isinstance(env, str):
        found = compile_text(env).value(values) or {}
        if not isinstance(found, dict):
            raise VariableError(f"env: {env} is not a mapping.")
        return {name: str(value) for name, value in found.items() if not _HOST_VARIABLE_RE.fullmatch(name)}
    return {name: shell_value(name, value) for name, value in render_structure(env, values).items()}


def _assignments(environment: Mapping[str, str]) -> str:
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    return f"{len(text.encode('utf-8', 'surrogateescape'))}\n{text}"


def secrets(values: Mapping[str, Any]) -> dict[str, str]:
    """The values that must not be shown, to the name that each has: `env` by name, and credentials blocks whole."""
    return dict(_secrets(values))


def _secrets(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in (values.get("env") or {}).items():
        if _is_secret(name, value):
            yield value, f"env.{name}"
    for name, value in values.items():
        if isinstance(value, dict) and name not in {"env", "labels"}:
            yield from _block_secrets(name, value)


def _block_secrets(path: str, block: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in block.items():
        if isinstance(value, dict):
            yield from _block_secrets(f"{path}.{name}", value)
        elif isinstance(value, str) and _is_secret(name, value):
            yield value, f"{path}.{name}"


def _is_secret(name: str, value: str) -> bool:
    """Whether a value is to be kept from view: by its name, as `API_KEY`, or by a password in an address."""
    named = not _SECRET_WORDS.isdisjoint(re.split(r"[^a-z]+", name.lower()))
    return len(value) >= _SHORTEST_SECRET and (named or bool(_SECRET_URL_RE.search(value)))


def mask(text: str, values: Mapping[str, Any]) -> str:
    """A text without the secrets of a job, fit for logs and error messages."""
    for value in sorted(secrets(values), key=len, reverse=True):
        text = text.replace(value, "********")
    return text


def _refuse_secrets(operation: Operation, argv: tuple[str, ...], values: Mapping[str, Any]) -> None:
    for value, name in secrets(values).items():
        if any(value in word for word in argv):
            verb = type(operation).__name__.lower()
            raise VariableError(
                f"{verb}: its command line would hold the value of {name}, for every user of the host to see. Pass it through "
                "stdin, files or the recipe's env."
            )
