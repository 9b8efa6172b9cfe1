"""What the command line answers, as people and as programs read it."""

import json
import subprocess

import pytest

from generic_worker.commands.rendering import pasted


def test_recipes_are_listed_with_what_they_need_and_what_is_missing(call, folder, monkeypatch):
    monkeypatch.setenv("GENERIC_WORKER_RECIPES", str(folder))
    (folder / "broken.yaml").write_text("recipe: 1\n", encoding="utf-8")

    code, out, err = call("list")

    assert (code, err) == (0, "")
    assert (
        f"sample: A sample.\n    from {folder}\n    needs sh, no-such-program-here (not installed)\n"
        "    verified with launch 1.2, by hand\n" in out
    )
    assert f"broken: cannot be used: {folder}/broken.yaml:1:1: cancel: This key is missing.\n" in out
    assert "slurm: Runs each flow run as a Slurm batch job.\n" in out


def test_the_list_is_there_for_programs(call, folder, monkeypatch):
    monkeypatch.setenv("GENERIC_WORKER_RECIPES", str(folder))

    listed = {entry["name"]: entry for entry in json.loads(call("list", "--json")[1])}

    assert listed["sample"] == {
        "name": "sample",
        "file": str(folder / "sample.yaml"),
        "origin": str(folder),
        "description": "A sample.",
        "requires": {"sh": True, "no-such-program-here": False},
        "elsewhere": False,
        "verified": {"with": "launch 1.2", "by": "hand"},
        "problems": [],
    }
    assert {"process", "slurm"} <= set(listed)


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


def test_the_job_s_id_is_that_of_the_recipe_s_own_example(call, folder, sample):
    example = "examples:\n  - {of: submit, stdout: job 17 on x, expect: {id: 17, cluster: x}}\n"
    (folder / "example.yaml").write_text(sample + example, encoding="utf-8")

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


def test_a_secret_on_a_command_line_is_refused_and_not_shown(call, folder):
    (folder / "leaking.yaml").write_text(
        "recipe: 1\nname: leaking\nextends: sample.yaml\nvariables: {settings: {type: object}}\n"
        "submit: {run: [launch, '${settings.token}']}\n"
    )

    assert call("render", "leaking.yaml", "submit", "--set", 'settings={"token": "xyzxyzxyz"}') == (
        2,
        "",
        "submit: its command line would hold the value of settings.token, for every user of the host to see. "
        "Pass it through stdin, files or the recipe's env.\n",
    )


def test_private_files_are_shown_with_their_contents(call, folder):
    text = (
        (folder / "sample.yaml")
        .read_text("utf-8")
        .replace("submit:\n", "files: {manifest: {queue: '${queue}', key: '${job_key}'}}\nsubmit:\n", 1)
    )
    (folder / "files.yaml").write_text(text, encoding="utf-8")

    data = json.loads(call("render", "files.yaml", "find", "--set", "queue=long", "--json")[1])

    key = "pf-0123456789abcdef0123456789abcdef-012345"
    assert json.loads(data["files"]["manifest"]["content"]) == {"queue": "long", "key": key}
    assert data["files"]["manifest"]["path"].endswith(f"/{key}/manifest")
    assert [command["operation"] for command in data["commands"]] == ["find"]


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


SCRIPT = """printf '%s' "$1" 'a $b `c`'
case x in (x) echo "'\\'" ;; esac
"""


def test_a_script_of_several_lines_is_pasted_as_a_block_and_does_the_same():
    text = pasted(["/bin/sh", "-c", SCRIPT])
    run = [subprocess.run(call, capture_output=True, check=True).stdout
           for call in (["/bin/sh", "-c", SCRIPT], ["/bin/sh", "-c", text], ["bash", "-c", text])]  # fmt: skip

    assert text == f"""/bin/sh -c "$(cat <<'SCRIPT'\n{SCRIPT}SCRIPT\n)\""""
    assert run[0] == run[1] == run[2] != b""
    assert pasted(["sh", "-c", "a\nSCRIPT\n"]) == "sh -c 'a\nSCRIPT\n'"
    assert pasted(["go", "a b", "c\nd"]) == "go 'a b' 'c\nd'"
