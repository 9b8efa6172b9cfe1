from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from generic_worker.errors import VariableError
from generic_worker.language.guardian import guarded
from generic_worker.language.job_script import (
    assignment,
    expressions_in,
    job_script,
    shell_name,
    shell_names,
    shell_value,
    unset_names,
)
from generic_worker.language.recipe import Script

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"partition", "cpus", "command", "env", "job_id", "job_script"}


def run(tmp_path: Path, text: str, interpreter: str = "/bin/sh", **environment: str) -> str:
    file = tmp_path / "script"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [*interpreter.split(), file], capture_output=True, check=True, env={"PATH": "/usr/bin:/bin"} | environment
    )
    return done.stdout.decode()


def values(**given: Any) -> dict[str, Any]:
    return {"env": {}, "command": "true"} | given


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('launch "$partition"', ["partition"]),
        ('launch "${partition:-x}" ${#cpus}', ["cpus", "partition"]),
        ("echo $((cpus * 2))", ["cpus"]),
        ("python -c 'import os; os.environ[\"cpus\"]'", ["cpus"]),
        ("# prints the job_id of each\nlaunch list", []),
        ("cat <<EOF\n#SBATCH --partition=$partition\nEOF", ["partition"]),
        ("  # ${cpus}", ["cpus"]),
        ("launch list # of $partition", ["partition"]),
        ("env A=1 launch; command -v launch", []),
        ('echo "$env" "${command}"', ["command", "env"]),
        ("my_partition=1 partitions=2", []),
    ],
)
def test_a_script_is_given_what_it_mentions(script: str, expected: list[str]) -> None:
    assert shell_names(script, NAMES) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('a "${b}" $c', {"b"}),
        ("b=1; echo ${b}", set()),
        ("b+=1; echo ${b}", set()),
        ("for b in 1; do echo ${b}; done", set()),
        ("read -r a b <file; echo ${b}", set()),
        ("while IFS= read -r b; do echo ${b}; done", set()),
        ("f() { local b c; echo ${b} ${c}; }", set()),
        ("printf -v b x; echo ${b}", set()),
        ("mapfile -t b; echo ${b[0]}", set()),
        ("getopts ab: b; echo ${b}", set()),
        ("echo ${B} ${1} ${@} \\${b} ${_b}", set()),
        ("echo ${b:-c} ${#d} ${!e} ${f%%x}", {"b", "d", "e", "f"}),
        ("echo ${b | join(',')} ${c.d}", set()),
    ],
)
def test_names_in_braces_that_a_script_does_not_set(script: str, expected: set[str]) -> None:
    assert unset_names(script) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo ${b | join(',')}", [("${b | join(',')}", "b")]),
        ("echo ${ b|upper } ${c.d}", [("${ b|upper }", "b"), ("${c.d}", "c")]),
        ("echo ${b} ${b:-c|d} ${b%.*} ${b#*|} ${b[0]} ${b//./|} ${b:+'--x=|'}", []),
    ],
)
def test_expressions_in_a_script_are_found(script: str, expected: list[tuple[str, str]]) -> None:
    assert expressions_in(script) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\nb", "a\nb"),
        (4, "4"),
        (0.5, "0.5"),
        (True, "true"),
        (["a", 1, False], "a\n1\nfalse"),
        ([], ""),
        ({"a": "b"}, '{"a": "b"}'),
        ([{"a": 1}, "b\n"], '[{"a": 1}, "b\\n"]'),
    ],
)
def test_a_value_as_a_shell_variable(value: object, expected: str) -> None:
    assert shell_value("x", value) == expected


def test_a_list_with_a_line_break_in_an_item_is_no_shell_variable() -> None:
    with pytest.raises(VariableError) as caught:
        shell_value("x", ["a", "b\nc"])

    assert str(caught.value) == "x: an item with a line break cannot be an item of a list in a shell script."


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A;id", "BASH_FUNC_ls%%", "Ä", "A\n"])
def test_a_name_that_no_shell_can_set_is_refused(name: str) -> None:
    with pytest.raises(VariableError) as caught:
        shell_name(name)

    assert str(caught.value) == f"env: {name!r} cannot be set by a shell. Use letters, digits and underscores."


def test_no_line_of_a_value_is_a_directive_of_a_scheduler() -> None:
    for value in ("x\n#$ -o /evil", "\n#PBS -l evil\n##", "it's\n'#BSUB\n#BSUB -evil", "#!"):
        text = f'{assignment("A", value)}\nprintf %s "$A"'
        shown = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=True).stdout

        assert shown == value
        assert not [line for line in text.split("\n") if line.startswith("#")]


def test_an_assignment_is_quoted() -> None:
    assert assignment("A", "it's $x") == """A='it'"'"'s $x'"""


def test_the_whole_job_script() -> None:
    script = Script(interpreter="/bin/bash -l", before='cd "$dir"\nload $more $none\n')
    given = values(
        env={"A": "1 2"},
        job_key="pf-1",
        command="prefect flow-run 'execute it'",
        dir="/a b",
        more=["x", "y"],
        none=None,
    )

    assert job_script(script, given, ["dir", "more", "none", "unused", "env"]) == (
        "#!/bin/bash -l\n"
        "export A='1 2'\n"
        "dir='/a b'\n"
        "more='x\ny'\n"
        "unset none\n"
        'cd "$dir"\n'
        "load $more $none\n" + guarded("prefect flow-run 'execute it'", "pf-1")
    )


def test_set_up_lines_use_variables_and_the_environment_stays_the_jobs_own(tmp_path: Path) -> None:
    script = Script(before='echo "$queue|${none-unset}|$A"; export B=set')
    given = values(
        env={"A": "a", "queue": "own", "none": "own"}, command="printenv A B queue none", queue="q", none=None
    )

    assert run(tmp_path, job_script(script, given, ["queue", "none"])) == "q|unset|a\na\nset\nown\nown\n"


def test_what_is_null_is_unset_even_if_the_scheduler_sets_it(tmp_path: Path) -> None:
    text = job_script(Script(before='echo "${none-unset}"'), values(none=None), ["none"])

    assert run(tmp_path, text, none="from outside") == "unset\n"


@pytest.mark.parametrize("interpreter", ["/bin/sh", "/bin/bash", "/bin/bash --posix"])
def test_variables_that_shells_keep_for_themselves_reach_the_job(tmp_path: Path, interpreter: str) -> None:
    env = {"UID": "1 2", "PPID": "x", "OPTIND": "abc", "A": "a"}
    text = job_script(Script(), values(env=env, command="printenv UID PPID OPTIND A"), [])

    assert run(tmp_path, text, interpreter) == "1 2\nx\nabc\na\n"


def test_the_flow_runs_command_survives_a_term_of_the_whole_job(tmp_path: Path) -> None:
    text = job_script(Script(), values(command="sh -c 'kill -TERM $$; echo alive'"), [])

    assert run(tmp_path, text) == "alive\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python 'x", 'command: "python \'x" cannot be split into words: No closing quotation.'),
        (" ", "command: it is empty."),
    ],
)
def test_a_command_that_has_no_words_is_refused(command: str, message: str) -> None:
    with pytest.raises(VariableError) as caught:
        job_script(Script(), values(command=command), [])

    assert str(caught.value) == message


def test_an_environment_that_no_script_can_set_is_refused() -> None:
    with pytest.raises(VariableError) as caught:
        job_script(Script(), values(env={"A.B": "secret"}), [])

    assert str(caught.value) == "env: 'A.B' cannot be set by a shell. Use letters, digits and underscores."


@pytest.mark.parametrize("value", ["dos\r\nlines\r", "\r", "it's\r'", "\r\r\n\n"])
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_carriage_return_arrives_though_there_is_none_in_the_script(tmp_path, shell, value):
    text = f'{assignment("A", value)}\nprintf %s "$A"'

    assert "\r" not in text
    assert run(tmp_path, text, shell) == value
