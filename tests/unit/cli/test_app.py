import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from generic_worker import __version__
from generic_worker.cli import app, main

CHECKOUT = Path(__file__).parents[3]
RECIPE = """\
recipe: 1
name: sample
description: A sample.
requires: [sh, no-such-program-here]
verified: {with: "launch 1.2", by: hand}
variables:
  queue: {type: string, pattern: '^[a-z]*$', description: Queue.}
  cpus: {type: integer, description: CPUs.}
  tags: {type: array, items: {type: string}, description: Tags.}
  login: {block: secret-login, description: Login.}
submit:
  run: [launch, '--queue=${queue}', '--cpus=${cpus}', '--tag=${tags}', '-l=${labels | pairs}', '--name=${job_name}']
  stdin: ${env | pairs | join(' ')}
  env: {LOGIN: '${login.password}'}
  output: {regex: '^job (?P<id>\\d+)(?: on (?P<cluster>\\w+))?$'}
find:
  run: [list, '--name=${job_key}']
  output: {columns: [id]}
status:
  - run: [list]
    output: {columns: [id, state, exit_code, reason]}
  - run: [history, "${job_ids | join(',')}", '--cluster=${job_cluster}']
    output: {columns: [id, state]}
states: {running: [active], finished: [done]}
explain:
  run: [show, '${job_id}']
  output: {columns: [exit_code, reason]}
cancel: {run: [stop, '${job_id}']}
logs:
  run: tail -n 5 "out.$job_id"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with one recipe in it, and no other recipes to be found than the bundled ones."""
    (tmp_path / "sample.yaml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENERIC_WORKER_RECIPES", raising=False)
    return tmp_path


@pytest.fixture
def call(folder, capsys, monkeypatch):
    """Run the command with standard input; its exit code and what it printed."""

    def run(*arguments, stdin=""):
        content = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        code = main.run(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def process(*arguments, stdin="", **options):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "generic_worker.cli", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, env=environment, check=False, timeout=60, **options
    )


# check


def test_a_recipe_that_is_right_is_said_to_be(call):
    assert call("check", "sample.yaml") == (0, "sample.yaml: OK, it has no examples.\n", "")


def test_warnings_are_told_and_are_no_failure(call, folder):
    (folder / "unused.yaml").write_text(RECIPE.replace("'--cpus=${cpus}', ", ""), encoding="utf-8")

    assert call("check", "unused.yaml") == (
        0,
        "unused.yaml:8:3: variables.cpus: warning: No command uses this variable.\n"
        "unused.yaml: OK, it has no examples.\n",
        "",
    )


def test_every_problem_of_every_recipe_is_told(call, folder):
    (folder / "broken.yaml").write_text(RECIPE.replace("cancel:", "cancle:").replace("${cpus}", "${cpu}"), "utf-8")

    code, out, err = call("check", "broken.yaml", "sample.yaml")

    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "broken.yaml:1:1: cancel: This key is missing.",
        "broken.yaml:12:37: submit.run[2]: ${cpu} names nothing. Did you mean 'cpus'?",
        "broken.yaml:28:1: cancle: Unknown key. Did you mean 'cancel'?",
        "sample.yaml: OK, it has no examples.",
    ]


def test_an_example_that_does_not_hold_is_a_failure(call, folder):
    example = "examples:\n  - of: submit\n    stdout: job 17\n    expect: {id: 18}\n"
    (folder / "example.yaml").write_text(RECIPE + example, encoding="utf-8")

    assert call("check", "example.yaml") == (
        1,
        'example.yaml:34:5: examples[0].expect: expected {"id": 18}, the recipe reads {"id": "17"}.\n',
        "",
    )


def test_examples_that_hold_are_counted(call, folder):
    example = "examples:\n  - {of: submit, stdout: job 17, expect: {id: 17}}\n"
    (folder / "example.yaml").write_text(RECIPE + example, encoding="utf-8")

    assert call("check", "example.yaml") == (0, "example.yaml: OK, 1 example holds.\n", "")


def test_a_recipe_is_read_from_standard_input(call):
    assert call("check", "-", stdin=RECIPE) == (0, "<stdin>: OK, it has no examples.\n", "")
    assert call("check", "-", stdin="recipe: [1") == (
        1,
        "<stdin>:1:9: This bracket is never closed.\n",
        "",
    )


def test_a_recipe_that_is_not_there_is_a_mistake_of_the_call_and_the_others_are_checked(call):
    assert call("check", "slurn", "none.yaml", "sample.yaml") == (
        2,
        "sample.yaml: OK, it has no examples.\n",
        "slurn: No recipe has the name 'slurn'. Did you mean 'slurm'?\nnone.yaml: There is no such file.\n",
    )


def test_a_recipe_in_a_directory_of_the_site_is_found_by_its_name(call, folder, monkeypatch):
    (folder / "site").mkdir()
    (folder / "sample.yaml").rename(folder / "site" / "ours.yaml")
    monkeypatch.setenv("GENERIC_WORKER_RECIPES", "site")

    assert call("check", "ours") == (0, "site/ours.yaml: OK, it has no examples.\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "check: name a recipe, or give the path of one.\n"),
        (["chek", "sample.yaml"], 'Unknown command "chek". Did you mean "check"? See: generic-worker --help\n'),
        (["show", "none.yaml"], "none.yaml: There is no such file.\n"),
        (["show", "-"], "<stdin>: is not UTF-8 text: invalid start byte.\n"),
        (
            ["render", "sample.yaml", "stop"],
            "render: the recipe sample has no 'stop'. "
            "It has submit, find, status[0], status[1], explain, cancel, logs.\n",
        ),
        (["render", "sample.yaml", "--set", "cpus"], "--set cpus: write name=value.\n"),
        (
            ["render", "sample.yaml", "--set", "cpus=two"],
            "--set cpus: 'two' is not JSON, and the variable is of type integer.\n",
        ),
        (
            ["render", "sample.yaml", "--set", "cpus=1.5"],
            "sample: the variable cpus has a value that does not suit it: 1.5 is not of type 'integer'.\n",
        ),
        (
            ["render", "sample.yaml", "--set", "queu=x"],
            "sample: the recipe has no variable 'queu'; it has queue, cpus, tags, login.\n",
        ),
        (
            ["parse", "sample.yaml", "cancel"],
            "parse: no output of 'cancel' is read. Write submit, find, status[0], status[1], explain.\n",
        ),
        (
            ["parse", "-", "status"],
            "parse: standard input is the command's output. Give the recipe by its name or path.\n",
        ),
        (["parse", "sample.yaml", "status", "--stderr", "none"], "none: No such file or directory.\n"),
        (["new", "Über"], "new: 'Über' is no name. Write lower case letters, digits and dashes, a letter first.\n"),
        (
            ["new", "x", "--output", "sample.yaml"],
            "new: sample.yaml exists, and stays as it is. Choose another file.\n",
        ),
    ],
)
def test_a_call_that_is_wrong_is_told_and_exits_with_2(call, arguments, message):
    assert call(*arguments, stdin=b"\xff") == (2, "", message)


def test_an_option_that_there_is_not_is_named(call):
    code, out, err = call("check", "--strict", "sample.yaml")

    assert (code, out) == (2, "")
    assert err.replace('"', "") == "Unknown option: --strict. See: generic-worker --help\n"


def test_a_recipe_that_is_wrong_is_told_beside_the_results(call, folder):
    (folder / "broken.yaml").write_text(RECIPE.replace("cancel:", "cancle:"), encoding="utf-8")

    for command in (["render", "broken.yaml"], ["template", "broken.yaml"], ["show", "broken.yaml", "--json"]):
        assert call(*command) == (
            1,
            "",
            "broken.yaml:1:1: cancel: This key is missing.\n"
            "broken.yaml:28:1: cancle: Unknown key. Did you mean 'cancel'?\n",
        )


# list, show


def test_recipes_are_listed_with_what_they_need_and_what_is_missing(call, folder, monkeypatch):
    monkeypatch.setenv("GENERIC_WORKER_RECIPES", str(folder))
    (folder / "broken.yaml").write_text("recipe: 1\n", encoding="utf-8")

    code, out, err = call("list")

    assert (code, err) == (0, "")
    assert (
        "sample: A sample.\n    needs sh, no-such-program-here (not installed)\n    verified with launch 1.2, by hand\n"
        in out
    )
    assert f"broken: cannot be used: {folder}/broken.yaml:1:1: cancel: This key is missing.\n" in out
    assert "slurm: Runs each flow run as a Slurm batch job.\n" in out


def test_the_list_is_there_for_programs(call, folder, monkeypatch):
    monkeypatch.setenv("GENERIC_WORKER_RECIPES", str(folder))

    listed = {entry["name"]: entry for entry in json.loads(call("list", "--json")[1])}

    assert listed["sample"] == {
        "name": "sample",
        "file": str(folder / "sample.yaml"),
        "description": "A sample.",
        "requires": {"sh": True, "no-such-program-here": False},
        "elsewhere": False,
        "verified": {"with": "launch 1.2", "by": "hand"},
        "problems": [],
    }
    assert {"process", "slurm"} <= set(listed)


def test_what_is_there_to_be_copied_has_no_name(call):
    assert "skeleton" not in call("list")[1]


def test_a_recipe_is_shown_as_it_was_written(call):
    assert call("show", "sample.yaml") == (0, RECIPE, "")
    assert call("show", "-", stdin=RECIPE) == (0, RECIPE, "")


def test_a_recipe_is_shown_with_what_it_extends(call, folder):
    (folder / "site.yaml").write_text("recipe: 1\nname: site\nextends: sample.yaml\nvariables: {cpus: null}\n", "utf-8")

    data = json.loads(call("show", "site.yaml", "--json")[1])

    assert data["name"] == "site"
    assert list(data["variables"]) == ["queue", "tags", "login"]
    assert "--cpus=${cpus}" not in data["submit"]["run"]


# render


def test_what_would_run_is_shown(call):
    assert call(
        "render", "sample.yaml", "submit", "--set", "queue=long", "--set", "cpus=4", "--set", 'tags=["a b", "c"]',
        "--set", "name=nightly; rm", "--set", "env.MODE=fast", "--set", "labels.team=x",
    ) == (
        0,
        "# submit\n"
        "launch --queue=long --cpus=4 '--tag=a b' --tag=c "
        "-l=prefect.io/flow-run-id=01234567-89ab-cdef-0123-456789abcdef -l=team=x '--name=nightly; rm'\n"
        "\n"
        "# submit: standard input\n"
        "PREFECT_API_URL=https://prefect.example/api PREFECT__FLOW_RUN_ID=01234567-89ab-cdef-0123-456789abcdef "
        "MODE=fast\n",
        "",
    )  # fmt: skip


def test_all_commands_are_shown_in_the_order_of_a_job_s_life(call):
    out = call("render", "sample.yaml", "--set", "job_cluster=cobalt")[1]

    titles = [line.removeprefix("# ") for line in out.splitlines() if line.startswith("# ")]
    assert titles == [
        "submit", "submit: standard input", "find", "status[0]", "status[1]", "explain", "cancel",
        "logs: environment", "logs",
    ]  # fmt: skip
    assert "history 4711,4712 --cluster=cobalt\n" in out


def test_the_commands_of_a_verb_are_shown_together_or_by_number(call):
    assert call("render", "sample.yaml", "status")[1] == "# status[0]\nlist\n\n# status[1]\nhistory 4711,4712\n"
    assert call("render", "sample.yaml", "status[1]")[1] == "# status[1]\nhistory 4711,4712\n"


def test_the_job_s_id_is_that_of_the_recipe_s_own_example(call, folder):
    example = "examples:\n  - {of: submit, stdout: job 17 on x, expect: {id: 17, cluster: x}}\n"
    (folder / "example.yaml").write_text(RECIPE + example, encoding="utf-8")

    assert call("render", "example.yaml", "status[1]")[1] == "# status[1]\nhistory 17,18 --cluster=x\n"


SECRET = 'it\'s "very" secret\\\n'


def test_secrets_are_masked_however_they_would_be_quoted(call):
    block = json.dumps({"user": "me", "password": SECRET})
    texts = [
        call("render", "sample.yaml", *form, "--set", f"env.API_KEY={SECRET}", "--set", f"login={block}")
        for form in ([], ["--json"])
    ]

    for code, out, err in texts:
        assert (code, err) == (0, "")
        assert "very" not in out
        assert "********" in out
    assert "export LOGIN='********'\n" in texts[0][1]
    assert json.loads(texts[1][1])["commands"][0]["env"] == {"LOGIN": "********"}


def test_a_secret_on_a_command_line_is_refused_and_not_shown(call):
    assert call("render", "sample.yaml", "submit", "--set", "env.API_KEY=xyzxyzxyz", "--set", "name=xyzxyzxyz") == (
        2,
        "",
        "submit: its command line would hold the value of env.API_KEY, for every user of the host to see. "
        "Pass it through stdin, files or the recipe's env.\n",
    )


def test_private_files_are_shown_with_their_contents(call, folder):
    text = RECIPE.replace("submit:\n", "files: {manifest: {queue: '${queue}', key: '${job_key}'}}\nsubmit:\n", 1)
    (folder / "files.yaml").write_text(text, encoding="utf-8")

    data = json.loads(call("render", "files.yaml", "find", "--set", "queue=long", "--json")[1])

    key = "pf-0123456789abcdef0123456789abcdef-012345"
    assert json.loads(data["files"]["manifest"]["content"]) == {"queue": "long", "key": key}
    assert data["files"]["manifest"]["path"].endswith(f"/{key}/manifest")
    assert [command["operation"] for command in data["commands"]] == ["find"]


# parse


def test_states_are_shown_as_a_table(call):
    assert call("parse", "sample.yaml", "status", "--jobs", "17,18,19", stdin="17 active - -\n18 done 3 too_big\n") == (
        0,
        "id   state     word     exit code   signal   reason\n"
        "────────────────────────────────────────────────────\n"
        "17   running   active\n"
        "18   failed    done     3                    too_big\n"
        "19   absent\n",
        "",
    )


def test_states_are_there_for_programs(call):
    code, out, _ = call("parse", "sample.yaml", "status", "--json", stdin="17 limbo - -\n18 done 0 -\n")

    assert code == 0
    assert json.loads(out) == {
        "jobs": [
            {"id": "17", "state": "unknown", "word": "limbo", "exit_code": None, "signal": None, "reason": ""},
            {"id": "18", "state": "succeeded", "word": "done", "exit_code": 0, "signal": None, "reason": ""},
        ],
        "trouble": "",
        "remarks": ["the state 'limbo' is not listed in the recipe's states; it is taken as unknown until it is."],
    }


def test_an_answer_that_is_not_complete_says_why(call, folder):
    (folder / "errors").write_text("controller down\n", encoding="utf-8")

    assert call("parse", "sample.yaml", "status", "--exit", "1", "--stderr", "errors", stdin="") == (
        0,
        "It names no job.\nThe answer is not complete: exit code 1. Jobs that are not in it are unknown.\n",
        "",
    )


TRANSIENT = "transient: it failed for a passing reason, or did not answer. It is tried again if there is no job."


@pytest.mark.parametrize(
    ("verb", "code", "stdin", "expected"),
    [
        ("submit", "0", "job 17 on cobalt\n", "submitted: id 17, cluster cobalt\n"),
        ("submit", "1", "", "ambiguous: there may be a job. It is looked up by its key if the recipe has find.\n"),
        ("submit", "0", "", f"{TRANSIENT}\n"),
        ("find", "0", "17\n", "id\n──\n17\n"),
        ("find", "0", "", "There is no such job.\n"),
        ("find", "1", "", "The answer is not complete: exit code 1. There may be other jobs.\n"),
        ("explain", "0", "3 too_big\n", "exit_code 3, reason too_big\n"),
        ("explain", "1", "", "It explains nothing.\n"),
        ("status[1]", "0", "", "It names no job.\n"),
    ],
)  # fmt: skip
def test_the_output_of_each_command_is_understood(call, verb, code, stdin, expected):
    assert call("parse", "sample.yaml", verb, "--exit", code, stdin=stdin) == (0, expected, "")


def test_what_a_terminal_would_obey_is_shown_escaped(call):
    out = call("parse", "sample.yaml", "status", stdin="17 \x1b[2J 0 -\n")[1]

    assert "\x1b" not in out
    assert r"'\x1b[2J'" in out


# try


def test_a_trial_without_the_required_programs_ends_before_it_submits_anything(call):
    code, out, err = call("try", "sample.yaml", "--json")

    report = json.loads(out)
    assert code == app.WRONG_RECIPE
    assert report["holds"] is False
    (verdict,) = report["verdicts"]
    assert (verdict["outcome"], verdict["key"]) == ("fails", "requires")
    assert verdict["found"] == "sample needs no-such-program-here, which is not on the worker's PATH."
    assert "fails" in err


def test_a_trial_with_a_value_that_does_not_suit_is_a_wrong_call(call):
    assert call("try", "sample.yaml", "--set", "cpus=many")[0] == app.WRONG_CALL
    assert call("try", "sample.yaml", "--waiting", "cpu=1")[0] == app.WRONG_CALL


# template, schema, new, demo


def test_the_template_holds_the_recipe_or_its_name(call, folder, monkeypatch):
    code, out, err = call("template", "sample.yaml")

    assert (code, err) == (0, "")
    assert json.loads(out)["job_configuration"]["recipe"]["submit"]["run"][0] == "launch"

    code, out, err = call("template", "sample.yaml", "--name-only")
    assert code == 0
    assert json.loads(out)["job_configuration"]["recipe"] == "sample"
    assert (
        err == "No recipe has the name 'sample' here. The workers need a file sample.yaml in GENERIC_WORKER_RECIPES.\n"
    )

    monkeypatch.setenv("GENERIC_WORKER_RECIPES", str(folder))
    assert call("template", "sample", "--name-only")[2] == ""


def test_a_new_recipe_passes_check_and_is_never_written_over(call, folder):
    assert call("new", "mine", "--output", "mine.yaml") == (
        0,
        "",
        "Wrote mine.yaml. Next: generic-worker check mine.yaml\n",
    )
    assert call("check", "mine.yaml") == (0, "mine.yaml: OK, 3 examples hold.\n", "")

    text = (folder / "mine.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n")
    assert "\nname: mine\n" in text
    assert call("new", "mine") == (0, text, "")
    assert call("new", "mine", "--output", "mine.yaml")[0] == 2


def test_the_version_is_told(call):
    assert call("--version") == (0, f"{__version__}\n", "")


# ends


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
        input="17\n", capture_output=True, text=True, cwd=folder, env=environment, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "id\n\\u2500\\u2500\n17\n", "")


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
