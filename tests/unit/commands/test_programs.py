"""What can be wrong with a command before it runs, and what it gets; with real programs."""

import os
from pathlib import Path

import pytest

from generic_worker.commands.programs import base_environment, find_program


def test_standard_input_is_empty_unless_given(run):
    assert run("cat").stdout == ""


@pytest.mark.parametrize("stdin", ["grüße\n", "grüße\n".encode()])
def test_standard_input_is_text_or_bytes(stdin, run):
    assert run("cat", stdin=stdin).stdout == "grüße\n"


def test_a_large_standard_input_is_read_in_full(run):
    result = run("wc", "-c", stdin=b"x" * 10**8)

    assert result.stdout.strip() == "100000000"


def test_a_large_standard_input_may_stay_unread(run):
    assert run("true", stdin=b"x" * 10**8).exit_code == 0


def test_standard_input_works_without_memfd(monkeypatch, run):
    monkeypatch.delattr(os, "memfd_create", raising=False)

    assert run("cat", stdin="x").stdout == "x"


def test_prefect_settings_are_not_handed_on(monkeypatch, run):
    monkeypatch.setenv("PREFECT_API_KEY", "hidden")
    monkeypatch.setenv("SITE", "hpc")

    assert "PREFECT_API_KEY" not in base_environment()
    assert run("sh", "-c", 'echo "$SITE${PREFECT_API_KEY-}$MORE"', env={"MORE": "+"}).stdout == "hpc+\n"
    assert run("sh", "-c", 'echo "$PREFECT_API_KEY"', env={"PREFECT_API_KEY": "own"}).stdout == "own\n"


def test_a_variable_of_the_worker_may_hold_any_bytes(monkeypatch, run):
    monkeypatch.setenv("ODD", os.fsdecode(b"a\377"))

    assert run("sh", "-c", 'printf %s "$ODD" | wc -c').stdout.strip() == "2"


def test_a_command_runs_in_its_directory(tmp_path, run, script):
    script(tmp_path / "here", "#!/bin/sh\npwd")

    assert run("./here", cwd=str(tmp_path)).stdout == f"{tmp_path.resolve()}\n"


def test_a_program_is_looked_up_on_the_path_of_the_command(tmp_path, run, script):
    script(tmp_path / "only-here", "#!/bin/sh\necho found")

    assert find_program("only-here") is None
    assert find_program("only-here", f"/nowhere:{tmp_path}") == str(tmp_path / "only-here")
    assert run("only-here", env={"PATH": str(tmp_path)}).stdout == "found\n"


def test_find_program_needs_an_executable_regular_file(tmp_path, monkeypatch, script):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    script(tmp_path / "plain", "", 0o644)
    script(tmp_path / "good", "")

    assert find_program("./good") == str(tmp_path / "good")
    assert find_program("good", "") == str(tmp_path / "good")  # an empty entry is the working directory
    assert [find_program(name, str(tmp_path)) for name in ("folder", "plain", "", "a\0b")] == [None] * 4


def test_a_program_that_is_not_on_the_path_is_named(not_found):
    assert not_found("sbatsch") == (
        "cannot start 'sbatsch': not found on PATH of this worker. Install it, or write its full path in the recipe."
    )
    assert not_found("true", env={"PATH": "/nowhere"}) == (
        "cannot start 'true': not found on PATH that its own env sets. "
        "Install it, or write its full path in the recipe."
    )


def test_a_path_without_a_file_is_named(not_found):
    assert not_found("/nowhere/x") == (
        "cannot start '/nowhere/x': there is no such file. Correct its path in the recipe, or install it."
    )


def test_a_file_that_is_not_executable_is_named(tmp_path, not_found, script):
    path = script(tmp_path / "plain", "#!/bin/sh\n", 0o644)

    assert not_found(path) == (
        f"cannot start {path!r}: {path!r} is not executable. Run `chmod +x` on it, or start it with its interpreter."
    )


def test_a_directory_is_not_a_program(tmp_path, not_found):
    path = str(tmp_path)

    assert not_found(path) == f"cannot start {path!r}: {path!r} is a directory. Name the program in it."


@pytest.mark.parametrize("interpreter", ["/nowhere/sh", "/bin/sh\r", "/"])
def test_a_script_without_its_interpreter_is_named(tmp_path, interpreter, not_found, script):
    path = script(tmp_path / "broken", f"#!{interpreter}\necho no\n")

    assert not_found(path) == (
        f"cannot start {path!r}: its interpreter {interpreter!r} cannot be executed. Correct line 1 of {path!r}."
    )


@pytest.mark.parametrize("head", ["", "# comment\n", "#!\n"])
def test_a_script_without_an_interpreter_line_runs_in_the_shell(tmp_path, head, run, script):
    assert run(script(tmp_path / "bare", f'{head}echo "$1"'), "a b").stdout == "a b\n"


def test_a_file_that_is_no_program_of_this_machine_is_named(tmp_path, refusal, script):
    path = script(tmp_path / "foreign", b"\x7fELF" + bytes(100))

    assert refusal(path) == (
        f"cannot start {path!r}: Exec format error. Check the program and what its first line names."
    )


def test_a_program_that_is_being_written_is_named(tmp_path, refusal, script):
    path = script(tmp_path / "busy", Path("/bin/true").read_bytes())
    with Path(path).open("ab"):
        text = refusal(path)

    assert text == f"cannot start {path!r}: Text file busy. Check the program and what its first line names."


def test_a_missing_directory_is_named(tmp_path, refusal):
    cwd = str(tmp_path / "gone")

    assert refusal("true", cwd=cwd) == (
        f"cannot start 'true': its working directory {cwd!r} cannot be entered. Create it, or correct cwd."
    )
    assert "cannot be entered" in refusal("true", cwd="a\0b")


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ((), "cannot start a command without words. Name a program."),
        (("true", "a\0b"), "cannot start 'true': argument 1 holds a NUL byte. Pass binary data in a file."),
        (("a\0b",), r"cannot start 'a\x00b': its name holds a NUL byte. Pass binary data in a file."),
        (("true", "x", 3), "cannot start 'true': argument 2 is int, not text. Convert it to text."),
        (("true", "\ud800"), "cannot start 'true': argument 1 is not valid text. Give it in UTF-8."),
        (
            ("true", "x" * 131072),
            "cannot start 'true': argument 1 has 131072 bytes, and 131071 is the limit. Pass it in a file.",
        ),
    ],
)
def test_a_word_that_cannot_be_passed_is_named_by_its_position(argv, text, refusal):
    assert refusal(*argv) == text


def test_the_longest_argument_is_passed(run):
    assert run("sh", "-c", 'printf %s "${#1}"', "sh", "x" * 131071).stdout == "131071"


def test_arguments_that_are_too_long_together_are_refused(refusal):
    text = refusal("true", *["x" * 100_000] * 80)

    assert text.startswith("cannot start 'true': its arguments and variables take 80")
    assert text.endswith(". Pass long values in a file.")


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({"A": "hidden\0"}, "variable 'A' holds a NUL byte. Pass binary data in a file."),
        ({"A": 1}, "variable 'A' is int, not text. Convert it to text."),
        (
            {"A": "hidden" * 30000},
            "variable 'A' has 180002 bytes, and 131071 is the limit. Pass it in a file.",
        ),
        ({"A=B": "hidden"}, "'A=B' cannot be the name of a variable. Rename it."),
        ({"A": "hidden\ud800"}, "variable 'A' is not valid text. Give it in UTF-8."),
    ],
)
def test_a_variable_that_cannot_be_passed_is_named_without_its_value(env, text, refusal):
    assert refusal("true", env=env) == f"cannot start 'true': {text}"


def test_standard_input_that_cannot_be_encoded_is_refused(refusal):
    assert refusal("cat", stdin="\ud800") == (
        "cannot start 'cat': its standard input is not valid text. Give it in UTF-8."
    )
