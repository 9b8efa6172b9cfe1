"""Whatever a deployment gives for a variable, a label, a name or the environment: it is a value, and nothing else.

Every recipe is rendered with every hostile value in every place. Each command is the one for a harmless value: with the
same words but for that value, the same shell script, the same variables, and standard input of the same shape.
"""

import json
import re
import shlex
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from generic_worker.commands.rendering import job_values, prepared, render, render_files, used_names
from generic_worker.errors import VariableError
from generic_worker.jobs.directory import prepare_directory
from generic_worker.language.structures import names_in
from generic_worker.library.loading import found_recipes, load
from generic_worker.library.template import checked_variables

DIRECTIVES = ("#SBATCH", "#PBS", "#BSUB", "#$", "#COBALT", "#FLUX")
HOSTILE = [
    *json.loads(Path(__file__).parents[1].joinpath("hostile_values.json").read_text(encoding="utf-8")),
    "".join(f"\n{directive} -evil\n" for directive in DIRECTIVES),
    "x\nqueue 5\nexecutable = /bin/evil",
    "4711|finished|0|pf-1|",
    "--privileged",
    "${job_key}",
    "$(touch /tmp/evil)",
]
HARMLESS = ("harmless", "1", "10:00", "1g", "a=b", "none")
LINES = {"submit_commands"}
"""Variables that are lines of a document by intent."""
NAMES = ("job_name", "flow_run_name", "flow_name", "deployment_name", "work_pool_name")
KEY = "pf-0123456789abcdef0123456789abcdef-012345"


def given(schema, value):
    """A value of the kind that a variable has; None where it holds no text."""
    kinds = schema.get("type", "string" if "enum" not in schema and "block" not in schema else "")
    if "string" in kinds:
        return value
    if "array" in kinds and "string" in str(schema.get("items", {}).get("type", "")):
        return [value]
    return {"name": value} if "object" in kinds else None


def places(recipe):
    """Where a deployment may put a text: a function for each, from the text to variables and what else there is."""
    for name, schema in recipe.variables.items():
        if given(schema, "x") is not None and name not in LINES:
            yield name, partial(lambda n, s, text: ({n: given(s, text)}, {}), name, schema)
    yield "labels", lambda text: ({}, {"labels": {"some-label": text}})
    yield "env", lambda text: ({}, {"env": {"SOME_NAME": text}})
    for name in NAMES:
        yield name, partial(lambda n, text: ({}, {n: text}), name)


def operations(recipe, place):
    """The commands in which what is given there may stand."""
    return [
        one
        for _, one in recipe.operations()
        if {place, "job_script"} & {*used_names(recipe, one), *file_names(recipe, one)}
    ]


def file_names(recipe, operation):
    return {
        name
        for file in recipe.files
        if f"file_{file}" in used_names(recipe, operation)
        for name in names_in(recipe.files[file])
    }


def rendered(recipe, operations, variables, more):
    """Those commands of a recipe, and its files. None where the values are refused."""
    required = dict.fromkeys(recipe.required, HARMLESS[0]) | variables
    about = {"job_key": KEY, "command": "prefect flow-run execute", "env": {}, "labels": {}, "flow_run_id": "x"}
    try:
        values = job_values(recipe, checked_variables(recipe, required), about | dict.fromkeys(NAMES, "n") | more)
        known = {**values, "job_id": "4711", "job_ids": ["4711"]}
        commands = [render(recipe, operation, known) for operation in operations]
        return commands, render_files(recipe, values)
    except VariableError:
        return None


def words(command):
    """A command's words; those of a command line for the far side's shell are looked at one by one."""
    *first, last = command.argv
    if first and Path(first[0]).name == "ssh":
        return [*first, *shlex.split(last)]
    return list(command.argv)


def shape(text):
    """What kind of thing a document is: of JSON, its keys; of lines of `name = value`, the names."""
    try:
        return skeleton(json.loads(text))
    except ValueError:
        pass
    if text.startswith("#!") or re.match(r"\d+\nexport ", text):  # for a shell: how it quotes is tried elsewhere
        return "script"
    lines = [re.split(r" ?= ?", line, maxsplit=1)[0] for line in text.split("\n")]
    return [line for line in lines if not line.startswith("GENERIC_WORKER_ENV_") and line not in {"", "SOME_NAME"}]


def skeleton(value):
    if isinstance(value, dict):
        return {name: skeleton(item) for name, item in value.items()}
    return [skeleton(item) for item in value] if isinstance(value, list) else type(value).__name__


def without_decoder(found):
    """Words without those that decode an environment in a container: they are always the same ones."""
    at = next((number for number, word in enumerate(found) if "GENERIC_WORKER_ENV_" in word), None)
    return found if at is None else [*found[: at - 2], *found[at + 2 :]]


def same(harmless, hostile, benign, evil):
    for one, other in zip(harmless[0], hostile[0], strict=True):
        mine, theirs = without_decoder(words(one)), without_decoder(words(other))
        assert len(theirs) == len(mine), theirs
        for word, found in zip(mine, theirs, strict=True):
            assert (
                found == word
                or (benign in word and (evil in found or repr(evil)[1:-1] in found))
                or (json.dumps(evil)[1:-1] in found)
            ), (word, found)
            if word.count("\n") or found.count("$") != word.count("$"):
                assert evil in found or found == word
        assert other.env.keys() == one.env.keys()
        assert shape(str(other.stdin)) == shape(str(one.stdin)), other.stdin
    assert {name: shape(text) for name, text in hostile[1].items()} == {
        name: shape(text) for name, text in harmless[1].items()
    }


@pytest.mark.parametrize("name", sorted(found_recipes()))
def test_no_value_is_anything_but_a_value(name, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    recipe, count = load(name).recipe, 0
    for place, put in places(recipe):
        commands = operations(recipe, place)
        benign, harmless = next(
            ((text, found) for text in HARMLESS if (found := rendered(recipe, commands, *put(text)))), ("", None)
        )
        for evil in HOSTILE:
            hostile = rendered(recipe, commands, *put(evil))
            count += 1
            if hostile is not None and harmless is not None:
                try:
                    same(harmless, hostile, benign, evil)
                except AssertionError as error:
                    raise AssertionError(f"{name}: {place}: {evil[:100]!r}: {error}") from None
    assert count >= 120, count  # 17 recipes: more than 2,000


@pytest.mark.parametrize("name", sorted(found_recipes()))
def test_no_line_of_a_job_script_is_a_directive_of_its_scheduler(name):
    recipe = load(name).recipe
    about = {"job_key": KEY, "command": "x", "labels": {}, **dict.fromkeys((*NAMES, "flow_run_id"), "n")}
    evil = {f"EVIL_{number}": text for number, text in enumerate(HOSTILE)}
    variables = checked_variables(recipe, dict.fromkeys(recipe.required, HARMLESS[0]))
    values = job_values(recipe, variables, about | {"env": evil})
    texts = [str(render(recipe, recipe.submit, values).stdin), *render_files(recipe, values).values()]
    for text in texts:
        body = text.split("\n")[1:] if text.startswith("#!") else []
        assert not [line for line in body if line.startswith(DIRECTIVES)]


HOST = {"process", "ssh", "systemd", "task-spooler"}
"""Recipes whose scripts are about this host; they are tried with real jobs."""
TEXT_PROGRAMS = (
    "awk",
    "basename",
    "cat",
    "cut",
    "date",
    "dirname",
    "env",
    "find",
    "grep",
    "id",
    "sed",
    "sha256sum",
    "sh",
    "tr",
)
STAND_IN = """#!/bin/sh
printf '%s\\0' "${0##*/}" "$@" END >>"$CALLS"
"""
SPLIT = (
    "a b",
    "*",
    "/*",
    "%s%d%",
    "\\101\\n",
    "'",
    '"',
    "$(touch x)",
    "`touch x`",
    "; touch x",
    "a\tb",
    "&",
    "~",
    "-x",
)


@pytest.fixture
def programs(tmp_path):
    """A folder with stand-ins that write down their arguments, for all programs but those that only change texts."""
    folder = tmp_path / "programs"
    folder.mkdir()
    needed = {name for recipe in found_recipes() for name in load(recipe).recipe.requires}
    for name in needed.union({"cp", "mkdir", "mktemp", "mv", "rm", "tail", "touch"}) - set(TEXT_PROGRAMS):
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    for name in TEXT_PROGRAMS:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def calls(recipe, operation, variables, programs):
    """The arguments of all programs that a script starts; None where the values are refused."""
    about = {"job_key": KEY, "command": "x", "env": {}, "labels": {}, "flow_run_id": "x", **dict.fromkeys(NAMES, "n")}
    log = programs.with_name("calls")
    log.write_text("")
    for file in programs.parent.rglob("*.registered"):  # by an earlier call, which spares the next one a command
        file.unlink()
    try:
        values = job_values(recipe, dict.fromkeys(recipe.required, "needed") | variables, about)
        if recipe.files:
            prepare_directory(recipe, values)
        command = prepared(recipe, operation, {**values, "job_id": "4711", "job_ids": ["4711", "4712"]})
    except VariableError:
        return None
    env = {"PATH": str(programs), "HOME": str(programs), "CALLS": str(log), **command.env}
    subprocess.run(
        command.argv, env=env, input=str(command.stdin).encode(), cwd=programs, capture_output=True, check=False
    )
    return sorted(call.split("\0") for call in log.read_text().split("\0END\0"))  # in a pipe they start in any order


@pytest.mark.parametrize("name", sorted(found_recipes().keys() - HOST))
def test_no_script_splits_a_value_or_makes_something_else_of_it(name, programs, monkeypatch, tmp_path):
    """The programs that a script starts have the arguments for a harmless value, with the other in its place."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    recipe = load(name).recipe
    scripts = [one for _, one in recipe.operations() if isinstance(one.run, str) or one.run[0] in {"sh", "/bin/sh"}]
    for variable, schema in recipe.variables.items():
        if given(schema, HARMLESS[0]) is None:
            continue
        for operation in (one for one in scripts if variable in used_names(recipe, one)):
            expected = calls(recipe, operation, {variable: given(schema, HARMLESS[0])}, programs)
            for evil in SPLIT:
                found = calls(recipe, operation, {variable: given(schema, evil)}, programs)
                if found is not None and expected is not None:
                    wanted = [[word.replace(HARMLESS[0], evil) for word in call] for call in expected]
                    assert found == sorted(wanted), (variable, evil)


FILES = {
    "aws-batch": ("file:///etc/passwd", "fileb:///etc/passwd", "https://evil.example/x"),
    "aws-ecs": ("file:///etc/passwd", "fileb:///etc/passwd", "https://evil.example/x"),
    "azure-container-instances": ("@/etc/passwd",),
}
ARGUMENTS = {"cluster", "log_group", "log_stream_prefix", "queue", "resource_group", "subscription"}
"""Variables that scripts make arguments of; others are only looked at there."""


@pytest.mark.parametrize("name", FILES)
def test_no_value_is_an_argument_that_its_program_takes_for_a_file(name):
    """`aws --queue=file://x` and `az --name=@x` send what is in that file, and tell it in their errors."""
    recipe, about = load(name).recipe, {"job_key": KEY, "command": "x", "env": {}, "labels": {}, "flow_run_id": "x"}
    for variable, schema in recipe.variables.items():
        for text in FILES[name] if given(schema, "x") is not None else ():
            given_values = dict.fromkeys(recipe.required, "needed") | {variable: given(schema, text)}
            try:
                values = job_values(recipe, checked_variables(recipe, given_values), about | dict.fromkeys(NAMES, "n"))
            except VariableError:
                continue
            for _, operation in recipe.operations():
                command = render(recipe, operation, {**values, "job_id": "4711", "job_ids": ["4711"]})
                taken = {name: value for name, value in command.env.items() if name in ARGUMENTS}
                shown = [*command.argv, *taken.values()]
                assert not [word for word in shown if word == text or word.endswith(f"={text}")], variable
    assert not [text for text in FILES[name] if "http" not in text and recipe.submit.output.can_yield("id", text)]
