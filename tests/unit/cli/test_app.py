import json
import os
import subprocess
import sys

import pytest

from generic_worker import __version__
from generic_worker.cli import app

# check


def test_a_recipe_that_is_right_is_said_to_be(call):
    assert call("check", "sample.yaml") == (0, "sample.yaml: OK, it has no examples.\n", "")


def test_warnings_are_told_and_are_no_failure(call, folder, sample):
    (folder / "unused.yaml").write_text(sample.replace("'--cpus=${cpus}', ", ""), encoding="utf-8")

    assert call("check", "unused.yaml") == (
        0,
        "unused.yaml:8:3: variables.cpus: warning: No command uses this variable.\n"
        "unused.yaml: OK, it has no examples.\n",
        "",
    )


def test_every_problem_of_every_recipe_is_told(call, folder, sample):
    (folder / "broken.yaml").write_text(sample.replace("cancel:", "cancle:").replace("${cpus}", "${cpu}"), "utf-8")

    code, out, err = call("check", "broken.yaml", "sample.yaml")

    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "broken.yaml:1:1: cancel: This key is missing.",
        "broken.yaml:12:37: submit.run[2]: ${cpu} names nothing. Did you mean 'cpus'?",
        "broken.yaml:28:1: cancle: Unknown key. Did you mean 'cancel'?",
        "sample.yaml: OK, it has no examples.",
    ]


def test_an_example_that_does_not_hold_is_a_failure(call, folder, sample):
    example = "examples:\n  - of: submit\n    stdout: job 17\n    expect: {id: 18}\n"
    (folder / "example.yaml").write_text(sample + example, encoding="utf-8")

    assert call("check", "example.yaml") == (
        1,
        'example.yaml:34:5: examples[0].expect: expected {"id": 18}, the recipe reads {"id": "17"}.\n',
        "",
    )


def test_examples_that_hold_are_counted(call, folder, sample):
    example = "examples:\n  - {of: submit, stdout: job 17, expect: {id: 17}}\n"
    (folder / "example.yaml").write_text(sample + example, encoding="utf-8")

    assert call("check", "example.yaml") == (0, "example.yaml: OK, 1 example holds.\n", "")


def test_a_recipe_is_read_from_standard_input(call, sample):
    assert call("check", "-", stdin=sample) == (0, "<stdin>: OK, it has no examples.\n", "")
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


def test_a_recipe_that_is_wrong_is_told_beside_the_results(call, folder, sample):
    (folder / "broken.yaml").write_text(sample.replace("cancel:", "cancle:"), encoding="utf-8")

    for command in (["render", "broken.yaml"], ["template", "broken.yaml"], ["show", "broken.yaml", "--json"]):
        assert call(*command) == (
            1,
            "",
            "broken.yaml:1:1: cancel: This key is missing.\n"
            "broken.yaml:28:1: cancle: Unknown key. Did you mean 'cancel'?\n",
        )


# list, show


def test_what_is_there_to_be_copied_has_no_name(call):
    assert "skeleton" not in call("list")[1]


def test_a_recipe_is_shown_as_it_was_written(call, sample):
    assert call("show", "sample.yaml") == (0, sample, "")
    assert call("show", "-", stdin=sample) == (0, sample, "")


def test_a_recipe_is_shown_with_what_it_extends(call, folder):
    (folder / "site.yaml").write_text("recipe: 1\nname: site\nextends: sample.yaml\nvariables: {cpus: null}\n", "utf-8")

    data = json.loads(call("show", "site.yaml", "--json")[1])

    assert data["name"] == "site"
    assert list(data["variables"]) == ["queue", "tags", "login"]
    assert "--cpus=${cpus}" not in data["submit"]["run"]


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


# completion


def test_a_shell_completes_the_command(call, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    code, out, _ = call("--install-completion", "--shell", "bash")
    assert code == 0
    (script,) = (word for word in out.split() if word.endswith("/generic-worker"))

    ask = f". {script}; COMP_WORDS=(generic-worker re) COMP_CWORD=1; _generic_worker; echo ${{COMPREPLY[@]}}"
    answer = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout

    assert answer == "render\n"


# narrow terminals, and those without lines


def test_recipes_are_listed_in_lines_that_fit_and_words_that_are_whole(call, monkeypatch):
    whole = call("list")[1]
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(app, "_is_terminal", lambda: True)
    fitted = call("list")[1]

    assert max(map(len, fitted.splitlines())) <= 60
    assert fitted.split() == whole.split()


def test_a_table_has_dashes_where_the_locale_has_no_lines():
    command = [sys.executable, "-m", "generic_worker.cli", "parse", "process", "status"]
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    printed = subprocess.run(command, input=b"1-2-3|running||pf-1|\n", env=env, capture_output=True, check=True).stdout

    assert printed.splitlines()[1] == b"-" * len(printed.splitlines()[1])
    assert b"running" in printed
