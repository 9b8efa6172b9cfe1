"""Whatever a value holds, it arrives as that one value: in every place of a recipe, here and behind `via`.

Real programs tell what has arrived. The values are in `tests/hostile_values.json`. A deployment may set any of them;
none may become syntax of anything.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from generic_worker.commands.rendering import host_values, job_values, render, used_names, with_script
from generic_worker.commands.runner import CommandRunner
from generic_worker.commands.shared_files import write_shared
from generic_worker.errors import VariableError
from generic_worker.jobs.directory import prepare_directory
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from generic_worker.language.recipe import Recipe

VALUES: list[str] = json.loads((Path(__file__).parent.parent / "hostile_values.json").read_text(encoding="utf-8"))
HERE = ""
FAR = "via: {run: [sh, -c], quote: true}\n"  # reads its one argument again, as sshd's shell does
FAR_BARE = "via: {run: [env, GENERIC_WORKER_TEST=1]}\n"  # passes its arguments on, as sudo and docker exec do
BASH = "via: {run: [bash, -c], quote: true}\n"
VIAS = pytest.mark.parametrize("via", [HERE, FAR, FAR_BARE, BASH], ids=["here", "sh", "bare", "bash"])


def printing(words: str) -> str:
    """A command that prints words with a NUL after each."""
    return f'  run: [sh, -c, \'printf "%s\\0" "$@"\', sh, {words}]\n'


def recipe(submit: str, via: str = "", more: str = "") -> Recipe:
    return load(
        "recipe: 1\nname: hostile\nvariables: {value: {type: string}, items: {type: array}}\n"
        f"{via}{more}submit:\n{submit}  output: {{columns: [id]}}\n"
        "status: {run: [x], output: {columns: [id, state]}}\ncancel: {run: [x]}\nstates: {finished: [x]}\n"
    ).recipe


def job(recipe: Recipe, value: Any = None, **given: Any) -> dict[str, Any]:
    variables = {"value": value, "items": [value, "next"] if value else None}
    key = f"pf-{uuid.uuid4().hex}"  # a job's guardian ends all processes that carry its key
    known = {"job_key": key, "job_name": "name", "command": "env -0", "env": {}, "labels": {}}
    return job_values(recipe, variables, known | given)


def printed(recipe: Recipe, values: Callable[[str], dict[str, Any]]) -> dict[str, str]:
    """What the submit command prints, for every hostile value."""
    runner = CommandRunner(limit=16)

    async def run() -> list[str]:
        commands = [render(recipe, recipe.submit, values(value)) for value in VALUES]
        results = await asyncio.gather(*(runner.run(command) for command in commands))
        return [result.stdout + result.stderr for result in results]

    return dict(zip(VALUES, asyncio.run(run()), strict=True))


def test_there_are_sixty_hostile_values_at_least() -> None:
    assert len(set(VALUES)) >= 60
    assert max(len(value) for value in VALUES) > 5000  # characters


def hostile_job(subject: Recipe, value: str) -> dict[str, Any]:
    return job(subject, value, job_name=value, labels={"a": value})


@VIAS
def test_a_value_is_one_word_or_part_of_one(via: str) -> None:
    words = (
        "'${value}', '--value=${value}!', '${items}', '${job_name}', '--label=${labels | pairs}', '${labels | json}'"
    )
    subject = recipe(printing(words), via)

    assert printed(subject, lambda value: hostile_job(subject, value)) == {
        v: f"{v}\0--value={v}!\0{v}\0next\0{v}\0--label=a={v}\0{json.dumps({'a': v})}\0" for v in VALUES
    }


@VIAS
def test_a_value_is_a_variable_of_a_script(via: str) -> None:
    subject = recipe('  run: |\n    printf \'%s\\0\' "$value" "$job_name" "$labels"\n', via)

    assert printed(subject, lambda value: hostile_job(subject, value)) == {
        v: f"{v}\0{v}\0{json.dumps({'a': v})}\0" for v in VALUES
    }


@VIAS
def test_a_value_is_an_environment_variable(via: str) -> None:
    subject = recipe("  run: [printenv, --null, A, B]\n  env: {B: 'b=${value}'}\n", via, "env: {A: '${value}'}\n")

    assert printed(subject, lambda value: job(subject, value)) == {v: f"{v}\0b={v}\0" for v in VALUES}


@VIAS
def test_a_value_is_standard_input(via: str) -> None:
    subject = recipe("  run: 'cat; true \"$value\"'\n  stdin: 'a ${value}|${value}'\n", via)

    assert printed(subject, lambda value: job(subject, value)) == {v: f"a {v}|{v}" for v in VALUES}


@VIAS
def test_a_value_is_a_text_in_a_structure(via: str) -> None:
    subject = recipe("  run: cat\n  stdin: {a: ['${value}', '${items}'], b: {c: 'x${value}'}}\n", via)
    found = printed(subject, lambda value: job(subject, value))

    assert {v: json.loads(text) for v, text in found.items()} == {
        v: {"a": [v, v, "next"], "b": {"c": f"x{v}"}} for v in VALUES
    }


def test_a_value_is_in_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    files = "files: {text: 'a ${value}', data: {a: '${value}'}}\n"
    subject = recipe('  run: cat "$file_text"; printf "\\0"; cat "$file_data"\n', more=files)

    def values(value: str) -> dict[str, Any]:
        made = job(subject, value, job_key=f"pf-{VALUES.index(value)}")
        prepare_directory(subject, made)
        write_shared(subject, used_names(subject, subject.submit), made)
        return made

    found = {v: text.split("\0") for v, text in printed(subject, values).items()}

    assert {v: (text, json.loads(data)) for v, (text, data) in found.items()} == {
        v: (f"a {v}", {"a": v}) for v in VALUES
    }


@pytest.mark.parametrize("interpreter", ["/bin/sh", "/bin/bash", "/bin/bash --posix"])
def test_a_value_is_in_the_environment_of_the_job(tmp_path: Path, interpreter: str) -> None:
    script = f'script:\n  interpreter: {interpreter}\n  before: export COPY="$value" NAMES="$items"\n'
    subject = recipe("  run: cat\n  stdin: ${job_script}\n", more=script)

    for number, value in enumerate(VALUES):
        values = job(subject, value, env={"VALUE": value, "value": f"own {value}"})
        values["items"] = ["a", "b"]
        file = tmp_path / str(number)
        file.write_bytes(with_script(subject, values, "${job_script}")["job_script"].encode())
        done = subprocess.run([*interpreter.split(), file], capture_output=True, check=True)
        found = dict(one.split("=", 1) for one in done.stdout.decode().split("\0") if one)

        assert (found["VALUE"], found["value"], found["COPY"], found["NAMES"]) == (value, f"own {value}", value, "a\nb")


def test_a_word_of_the_flow_runs_command_stays_a_word(tmp_path: Path) -> None:
    subject = recipe("  run: cat\n  stdin: ${job_script}\n")

    for number, value in enumerate(VALUES):
        quoted = value.replace("'", "'\\''")
        values = job(subject, command=f"printf '%s\\0' '{quoted}'")
        file = tmp_path / str(number)
        file.write_bytes(with_script(subject, values, "${job_script}")["job_script"].encode())
        done = subprocess.run(["/bin/sh", file], capture_output=True, check=True)

        assert done.stdout.decode() == f"{value}\0"


@pytest.mark.parametrize("via", [HERE, FAR], ids=["here", "sh"])
def test_an_empty_value_is_none_in_a_variable_and_empty_elsewhere(via: str) -> None:
    subject = recipe(printing("'--value=${value}', '${items}', end"), via)
    script = recipe('  run: printf "%s\\0" "${value-unset}" "$labels" "$EMPTY"\n', via, "env: {EMPTY: ''}\n")
    runner = CommandRunner()

    def output(subject: Recipe, values: dict[str, Any]) -> str:
        return asyncio.run(runner.run(render(subject, subject.submit, values))).stdout

    assert output(subject, job(subject, "")) == "end\0"
    assert output(subject, job(subject, "") | {"items": ["", "a", ""]}) == "\0a\0\0end\0"
    assert output(script, job(script, "", labels={"a": ""})) == 'unset\0{"a": ""}\0\0'


@pytest.mark.parametrize(
    ("variables", "given", "name"),
    [
        ({"value": "a\0b"}, {}, "value"),
        ({"items": ["a", "\0"]}, {}, "items"),
        ({}, {"env": {"KEY": "\0"}}, "env.KEY"),
        ({}, {"env": {"K\0": "a"}}, "env.K\\x00"),
        ({}, {"labels": {"team": "a\0"}}, "labels.team"),
        ({}, {"job_name": "a\0b"}, "job_name"),
        ({}, {"command": "a\0b"}, "command"),
    ],
)
def test_a_nul_is_refused_with_the_name_of_the_value(
    variables: dict[str, Any], given: dict[str, Any], name: str
) -> None:
    known = {"job_key": "pf-1", "job_name": "name", "command": "x", "env": {}, "labels": {}}

    with pytest.raises(VariableError) as caught:
        job_values(recipe("  run: [x]\n"), variables, known | given)

    assert str(caught.value) == f"{name}: the value has a NUL character, which no command or environment can hold."


@pytest.mark.parametrize("value", ["\ud800", "a\udc80b"])
def test_half_of_a_character_is_refused_with_the_name_of_the_value(value: str) -> None:
    with pytest.raises(VariableError) as caught:
        host_values(recipe("  run: [x]\n"), {"value": value})

    assert str(caught.value) == "value: the value has half of a character (a lone surrogate), which is not text."
