"""From arguments to an exit code, in this process and in one of its own."""

import os
import subprocess
import sys
from pathlib import Path

from generic_worker import __version__
from generic_worker.cli import app

CHECKOUT = Path(__file__).parents[3]


def process(*arguments, stdin="", **options):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "generic_worker.cli", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, env=environment, check=False, timeout=60, **options
    )


def test_an_option_that_there_is_not_is_named(call):
    code, out, err = call("check", "--strict", "sample.yaml")

    assert (code, out) == (2, "")
    assert err.replace('"', "") == "Unknown option: --strict. See: generic-worker --help\n"


def test_a_defect_is_told_with_what_to_report(call, monkeypatch):
    monkeypatch.setattr(app, "found_recipes", lambda: 1 / 0)

    code, out, err = call("list")

    assert (code, out) == (3, "")
    assert "ZeroDivisionError" in err
    assert "This is a defect of prefect-generic-worker. Report it with the lines above and: " in err
    assert f"prefect-generic-worker {__version__}, prefect " in err


def test_an_interruption_exits_with_130(call, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "found_recipes", interrupt)

    assert call("list") == (130, "", "")


def test_results_and_messages_go_their_own_ways_in_a_real_process(folder):
    done = process("check", "sample.yaml", "none", cwd=folder)

    assert (done.returncode, done.stdout) == (2, "sample.yaml: OK, it has no examples.\n")
    assert done.stderr.startswith("none: No recipe has the name 'none'.")


def test_a_reader_that_goes_away_is_no_defect(folder):
    command = f"{sys.executable} -m generic_worker.cli schema; echo $? >code"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        ["sh", "-c", f"({command}) | true"], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )

    assert done.stderr == ""
    assert (folder / "code").read_text(encoding="utf-8") == "141\n"


def test_what_a_terminal_cannot_show_is_no_failure(folder):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "generic_worker.cli", "parse", "sample.yaml", "find"],
        input="17é\n", capture_output=True, text=True, encoding="utf-8", cwd=folder, env=environment, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "id\n---\n17\\xe9\n", "")


def test_check_imports_no_prefect_and_opens_no_connection(folder):
    code = (
        "import sys\n"
        "sys.addaudithook(lambda name, _: name == 'socket.connect' and sys.exit('connects'))\n"
        "from generic_worker.cli.main import run\n"
        "assert run(['check', 'sample.yaml', 'slurm', 'process']) == 0\n"
        "print([name for name in sys.modules if name.split('.')[0] in {'prefect', 'fastapi', 'httpx', 'sqlalchemy'}])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )

    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_file_is_read_whatever_its_suffix_is_and_through_a_pipe_and_a_directory_is_called_one(folder, call):
    text = (folder / "sample.yaml").read_text()
    (folder / "sample.txt").write_text(text)
    (folder / "bare").write_text(text)
    (folder / "place").mkdir()
    piped = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m generic_worker.cli check <(cat sample.yaml)"],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip

    assert call("check", "sample.txt") == (0, "sample.txt: OK, it has no examples.\n", "")
    assert call("check", "bare") == (0, "bare: OK, it has no examples.\n", "")
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout.endswith(": OK, it has no examples.\n")
    for name in ("place", "./place"):
        assert call("check", name) == (2, "", f"{name}: It is a directory. Write the path of a recipe's file.\n")


def test_a_full_disk_and_closed_streams_are_no_defects(folder):
    def shell(redirection):
        command = f"{sys.executable} -m generic_worker.cli schema {redirection}"
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60, env=environment
        )
        return done.returncode, done.stderr

    assert shell(">/dev/full") == (2, "Standard output: No space left on device.\n")
    assert shell(">&-") == (2, "Standard output is closed: there is nowhere to print.\n")
    assert shell(">/dev/null 2>&-") == (0, "")


def test_help_is_a_word_too_and_what_has_no_meaning_is_told_in_words(call):
    assert call("help") == call("--help")
    assert call("help", "check") == call("check", "--help")
    assert call("list", "everything") == (
        2,
        "",
        "There is nothing that 'everything' could mean here. See: generic-worker --help\n",
    )
