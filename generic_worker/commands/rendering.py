"""An operation of a recipe and a job's values in, the exact command out: arguments, standard input, environment.

Nothing is run here. This is where values are kept out of shell syntax.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generic_worker.commands.far_side import assignments, behind
from generic_worker.commands.masking import refuse_secrets
from generic_worker.commands.programs import Command
from generic_worker.commands.secret_values import JobValues, marked, texts_in
from generic_worker.commands.shared_files import shared_paths, write_shared
from generic_worker.errors import VariableError
from generic_worker.language.environment import MARKS, checked_labels, checked_names
from generic_worker.language.job_script import job_script, shell_names, shell_value
from generic_worker.language.structures import names_in, render_document, render_structure, render_words, texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generic_worker.language.operations import Operation
    from generic_worker.language.recipe import Recipe

_SURROGATE_RE = re.compile("[\ud800-\udfff]")


def worker_host() -> str:
    """The name of this host, as `worker_host` in expressions."""
    return socket.gethostname()


def worker_user() -> str:
    """The name of the user as whom this runs, as `worker_user` in a scope; the number of one that has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def jobs_directory(recipe: Recipe) -> Path:
    """Where the private directories of a recipe's jobs are: by host, because homes are often shared between hosts."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "prefect-generic-worker" / worker_host() / recipe.name


def host_values(recipe: Recipe, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What expressions may name where there is no job: the variables and this host.

    Args:
        recipe: The recipe.
        variables: Values of its variables. An empty text counts as no value, as an emptied field of a form does.

    Raises:
        VariableError: A value cannot be passed to any program, or does not suit a file that needs no job.
    """
    refuse_unfit(variables)
    directory = jobs_directory(recipe)
    values = {
        **{name: None if value == "" else marked(recipe, name, value) for name, value in variables.items()},
        "worker_host": worker_host(),
        "worker_user": worker_user(),
        "worker_bin": str(Path(sys.executable).parent),
        "jobs_dir": str(directory),
    }
    return {**values, **shared_paths(recipe, values, directory)}


def job_values(recipe: Recipe, variables: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that expressions may name for one job, but what is only known once it is submitted.

    Args:
        recipe: The recipe.
        variables: Values of its variables.
        job: `job_key`, `job_name`, `command`, `env`, `labels` and the names of the flow run.

    Raises:
        VariableError: A value cannot be passed to any program.
    """
    job = {**job, "env": {name: value for name, value in job["env"].items() if name not in MARKS}}
    refuse_unfit(job)
    checked_names(job["env"])
    checked_labels(job["labels"])
    job_dir = jobs_directory(recipe) / job["job_key"]
    files = {f"file_{name}": str(job_dir / name) for name in recipe.files if name not in recipe.shared_files}
    return JobValues({**host_values(recipe, variables), "job_dir": str(job_dir), **files, **job})


def refuse_unfit(values: Mapping[str, Any]) -> None:
    """Refuse text that no argument, environment or script can hold: with a NUL, or with half a character.

    Raises:
        VariableError: With the name of the value.
    """
    for path, text in texts_in("", values):
        name = ascii(path)[1:-1]
        if "\0" in path + text:
            raise VariableError(f"{name}: the value has a NUL character, which no command or environment can hold.")
        if _SURROGATE_RE.search(path + text):
            raise VariableError(f"{name}: the value has half of a character (a lone surrogate), which is not text.")


def uses_directory(recipe: Recipe) -> bool:
    """Whether any command of a recipe needs its jobs to have a private directory."""
    own = recipe.files.keys() - recipe.shared_files
    return bool(own) or any({"job_dir", "jobs_dir"} & used_names(recipe, op) for _, op in recipe.operations())


def used_names(recipe: Recipe, operation: Operation) -> frozenset[str]:
    """The names on which an operation's command depends."""
    if isinstance(operation.run, str):
        own = frozenset(shell_names(operation.run, recipe.names))
    else:
        own = names_in(operation.run)
    via = names_in(recipe.via.run) if recipe.via else frozenset()
    return own | via | names_in(operation.stdin) | names_in(recipe.env) | names_in(operation.env)


def names_beyond_scope(recipe: Recipe) -> frozenset[str]:
    """The variables on which it depends what is found of a job, and whose values its pid's scope does not tell."""
    operations = [*recipe.statuses, *recipe.cancels, *([recipe.find] if recipe.find else [])]
    used = frozenset[str]().union(*(used_names(recipe, operation) for operation in operations))
    return used.intersection(recipe.variables) - names_in(recipe.scope)


def without_environment(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """The values of one job for a command that serves many: its environment is of no concern to the others.

    Args:
        values: The job's values.
        names: The names on which the command depends. One that names the environment serves jobs that share it.
    """
    named = not names.isdisjoint({"env", "job_script"})
    return {name: value for name, value in values.items() if name != "env" or named}


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
    near = render_words(recipe.via.run, values) if recipe.via else []
    verb = next((str(path[0]) for path, known in recipe.operations() if known is operation), "a command")
    words = [*(operation.run if isinstance(operation.run, list) else ()), *(recipe.via.run if recipe.via else ())]
    refuse_secrets(verb, (text for _, text in texts((), words)), values)
    if recipe.via is None:
        return Command(tuple(argv), stdin, environment, operation.timeout, operation=verb)
    plain, as_run = behind(near, argv, environment, shell=recipe.via.quote)
    stdin = assignments(environment) + stdin
    marked_words = as_run if as_run != plain else ()
    return Command(plain, stdin, environment, operation.timeout, operation=verb, marked=marked_words)


def prepared(recipe: Recipe, operation: Operation, values: Mapping[str, Any]) -> Command:
    """The command of an operation, as `render` makes it, and the files that it shares with others, written.

    Raises:
        CommandError: They cannot be written.
        VariableError: As `render`.
    """
    if recipe.shared_files:
        write_shared(recipe, used_names(recipe, operation), values)
    return render(recipe, operation, values)


def _shell_form(recipe: Recipe, script: str, values: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    mentioned = shell_names(script, recipe.names)
    if "job_script" in mentioned:
        values = {**values, "job_script": job_script(recipe.script, values, recipe.names)}
    given = {name: shell_value(name, value) for name in mentioned if (value := values.get(name)) is not None}
    unset = [name for name in mentioned if name not in given]
    prefix = f"unset {' '.join(unset)}; " if unset else ""
    return ["/bin/sh", "-c", prefix + script], given


def _environment(env: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, str]:
    return {name: shell_value(name, value) for name, value in render_structure(env, values).items()}


def pasted(argv: Sequence[str]) -> str:
    """An argument vector as text for a shell. A script of several lines is a block, as its author wrote it."""
    *words, last = argv
    if words[-1:] != ["-c"] or "\n" not in last or "SCRIPT" in last.split("\n"):
        return shlex.join(argv)
    return f"{shlex.join(words)} \"$(cat <<'SCRIPT'\n{last.rstrip()}\nSCRIPT\n)\""
