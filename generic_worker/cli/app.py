"""What `generic-worker` can do: a function for each command, which has the work done and prints.

What needs Prefect is loaded only when it is asked for.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from generic_worker import __version__
from generic_worker.cli import new_pack, reports
from generic_worker.errors import GenericWorkerError, RecipeError, visible
from generic_worker.jobs.preflight import missing_programs
from generic_worker.language.json_schema import language_schema
from generic_worker.library import examples
from generic_worker.library.loading import example, found_recipes, load, locate
from generic_worker.library.template import base_job_template, checked_variables

if TYPE_CHECKING:
    from generic_worker.library.loading import Loaded

OK, WRONG_RECIPE, WRONG_CALL = 0, 1, 2

app = App(name="generic-worker", help="Write, check and try recipes for the generic worker.", version=__version__)
app.register_install_completion_command(help="Let your shell (bash, zsh, fish) complete this command.")

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON, for programs.")]
Reference = Annotated[str, Parameter(help="A recipe's name, the path of its file, or - for standard input.")]

Assignments = Annotated[
    list[str] | None,
    Parameter(name="--set", negative="", help="name=value: a variable, env.NAME, labels.NAME, name or command."),
]

_TABLE_LINE = "\u2500"
STDIN = "<stdin>"
"""What stands for `-`, which the parser would take for an option."""


class CallError(GenericWorkerError):
    """The call is wrong; its text says what to write instead."""


def say(message: str) -> None:
    """Print a message for people, beside the results."""
    print(visible(message), file=sys.stderr)  # noqa: T201


def print_text(result: str) -> None:
    """Print a result for people. Where the locale has no lines for tables, dashes stand for them."""
    try:
        _TABLE_LINE.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        result = result.replace(_TABLE_LINE, "-")
    sys.stdout.write(result if result.endswith("\n") or not result else f"{result}\n")


def print_json(data: object) -> None:
    """Print a result for programs."""
    print_text(json.dumps(data, indent=2))


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _fitted(text: str) -> str:
    """Text whose lines fit the terminal; elsewhere they stay whole. No word is broken."""
    if not _is_terminal():
        return text
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        width = max(shutil.get_terminal_size().columns, len(indent) + 1)
        lines += textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _located(reference: str) -> Path:
    """The file of a recipe on the command line; that there is none is the caller's mistake."""
    try:
        return locate(reference)
    except RecipeError as error:
        if "/" not in reference and Path(reference).exists():  # no name: a file with whatever suffix
            try:
                return locate(f"./{reference}")
            except RecipeError as other:
                raise CallError(str(other).removeprefix("./")) from None
        raise CallError(str(error)) from None


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise CallError(f"{STDIN}: is not UTF-8 text: {error.reason}.") from None


def load_recipe(reference: str) -> Loaded:
    """Load the recipe that a command line names.

    Raises:
        CallError: There is none.
        RecipeError: It is wrong.
    """
    if reference == STDIN:
        return load(f"{_standard_input()}\n", STDIN)
    path = str(_located(reference))
    path = reference if "/" in reference else path
    return load(path if "/" in path else f"./{path}")


@app.command(name="list")
def list_recipes(*, as_json: Json = False) -> None:
    """List the recipes that have a name here: bundled, from packs, and from directories in GENERIC_WORKER_RECIPES."""
    entries = reports.listing(found_recipes(), missing_programs)
    print_json(entries) if as_json else print_text(_fitted(reports.listing_text(entries)))


@app.command
def show(recipe: Reference, /, *, as_json: Json = False) -> None:
    """Print a recipe's text; with --json its data, with everything that it extends merged in."""
    if as_json:
        print_json(load_recipe(recipe).data)
    else:
        print_text(
            _standard_input() if recipe == STDIN else _located(recipe).read_text(encoding="utf-8", errors="replace")
        )


@app.command
def render(
    recipe: Reference,
    verb: Annotated[str | None, Parameter(help="The command, such as submit or status[1]; all when left out.")] = None,
    /,
    *,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Show exactly what would run for a made-up job: commands, input, environment, files. Secrets are masked."""
    loaded = load_recipe(recipe)
    given, common = reports.given_values(loaded.recipe, assignments or [])
    operations = examples.named_operations(loaded.recipe)
    names = [name for name in operations if verb in {None, name, name.partition("[")[0]}]
    if not names:
        raise CallError(f"render: the recipe {loaded.recipe.name} has no {verb!r}. It has {', '.join(operations)}.")
    data = reports.rendering(loaded.recipe, checked_variables(loaded.recipe, given), common, names)
    print_json(data) if as_json else print_text(reports.rendering_text(data))


@app.command
def parse(  # noqa: PLR0913 - an option each
    recipe: Reference,
    verb: Annotated[
        str, Parameter(help="The command that printed it: submit, find, status, status[1], watch or explain.")
    ],
    /,
    *,
    exit_code: Annotated[int, Parameter(name="--exit", help="The command's exit code.")] = 0,
    stderr: Annotated[Path | None, Parameter(help="File with what it printed on standard error.")] = None,
    jobs: Annotated[str, Parameter(help="Ids of the jobs it was asked about, with commas.")] = "",
    as_json: Json = False,
) -> None:
    """Show what the worker would understand of a command's output, which is read from standard input."""
    if recipe == STDIN:
        raise CallError("parse: standard input is the command's output. Give the recipe by its name or path.")
    loaded = load_recipe(recipe)
    readable = examples.readable(loaded.recipe)
    command = examples.operation_named(readable, verb)
    if command is None:
        raise CallError(f"parse: no output of {verb!r} is read. Write {', '.join(readable)}.")
    if sys.stdin.isatty():
        say("Paste the command's output, and end it with Ctrl-D.")
    stdout = sys.stdin.buffer.read().decode(errors="replace")
    errors = stderr.read_bytes().decode(errors="replace") if stderr else ""
    output = examples.printed(loaded.recipe, stdout, errors, exit_code)
    data = reports.reading(loaded.recipe, command, output, jobs.split(",") if jobs else None)
    print_json(data) if as_json else print_text(reports.reading_text(data))


@app.command(name="try")
def try_recipe(
    recipe: Reference,
    /,
    *,
    assignments: Assignments = None,
    waiting: Annotated[
        list[str] | None,
        Parameter(negative="", help="name=value: a variable with which a job waits, to try to cancel one that does."),
    ] = None,
    timeout: Annotated[
        float | None, Parameter(help="Seconds for all of it; 300, or more where the recipe's commands are slow.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Try a recipe with real jobs on your infrastructure: what holds, what does not, and where to look."""
    loaded = load_recipe(recipe)
    given, common = reports.given_values(loaded.recipe, assignments or [])
    held_back, _ = reports.given_values(loaded.recipe, waiting or [])
    env = {name.removeprefix("env."): value for name, value in common.items() if name.startswith("env.")}
    variables = checked_variables(loaded.recipe, given)
    checked_variables(loaded.recipe, {**given, **held_back})
    trying = import_module("generic_worker.cli.trial.report")  # it loads what runs commands
    code: int = trying.try_recipe(
        loaded.recipe, variables, env=env, waiting=held_back, timeout=timeout, as_json=as_json
    )
    return code


@app.command
def jobs(
    *,
    pool: Annotated[str, Parameter(help="The work pool's name.")],
    watch: Annotated[bool, Parameter(negative="", help="Look again every 15 seconds, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> int:
    """List a pool's active flow runs with what the infrastructure says of their jobs now. It changes nothing."""
    if watch and as_json:
        raise CallError("jobs: --watch is for people, and --json for programs. Give one of them.")
    try:
        code: int = import_module("generic_worker.cli.job_listing").list_jobs(pool, watch=watch, as_json=as_json)
    except RecipeError:
        raise
    except GenericWorkerError as error:
        raise CallError(str(error)) from None
    return code


@app.command
def template(
    recipe: Reference,
    /,
    *,
    name_only: Annotated[
        bool, Parameter(negative="", help="Refer to the recipe by name: each worker reads its own copy.")
    ] = False,
) -> None:
    """Print a base job template, for: prefect work-pool create NAME --type generic --base-job-template FILE."""
    loaded = load_recipe(recipe)
    name = loaded.recipe.name
    if name_only and name not in found_recipes():
        say(f"No recipe has the name {name!r} here. The workers need a file {name}.yaml in GENERIC_WORKER_RECIPES.")
    print_json(base_job_template(loaded, name_only=name_only))


@app.command
def schema() -> None:
    """Print the language's JSON Schema, with which editors complete recipes."""
    print_json(language_schema())


@app.command
def new(
    name: Annotated[str | None, Parameter(help="The recipe's name.")] = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(help="File to write; standard output when left out.")] = None,
    pack: Annotated[str | None, Parameter(help="Begin a package of recipes instead, in a folder of this name.")] = None,
) -> None:
    """Begin a recipe: a skeleton with comments, which passes check. Or a package of recipes, with its test."""
    if (name is None) == (pack is None):
        raise CallError("new: give the name of a recipe, or --pack and the name of a package.")
    named = str(name or pack)
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", named):
        raise CallError(f"new: {named!r} is no name. Write lower case letters, digits and dashes, a letter first.")
    text = example("skeleton").read_text(encoding="utf-8").replace("=../recipe.schema.json", "=recipe.schema.json")
    text = text.replace("name: skeleton\n", f"name: {name or new_pack.recipe_name(named)}\n")
    path = Path(named) if pack else output
    if path is None or str(path) == STDIN:
        print_text(text)
        return
    try:
        if pack:
            new_pack.begin(named, text, path)
        else:
            path.open("x", encoding="utf-8").write(text)
    except FileExistsError:
        raise CallError(
            f"new: {path} exists, and stays as it is. Choose another {'name' if pack else 'file'}."
        ) from None
    say(f"Wrote {path}. Next: {f'pip install -e {path}[test]' if pack else f'generic-worker check {path}'}")


@app.command
def demo() -> int:
    """See it work: a Prefect server, a work pool and a worker of its own, three flow runs, and nothing left behind."""
    code: int = import_module("generic_worker.cli.demo.demo").main()
    return code
