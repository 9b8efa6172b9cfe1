from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from sample_recipe import recipe, values

from generic_worker.commands.rendering import (
    host_values,
    jobs_directory,
    render,
    render_files,
    used_names,
    uses_directory,
    worker_host,
    worker_user,
)
from generic_worker.commands.runner import Command, CommandResult, CommandRunner
from generic_worker.errors import RecipeError, VariableError

if TYPE_CHECKING:
    from pathlib import Path

    from generic_worker.language.recipe import Recipe


def submit(recipe: Recipe, variables: dict[str, Any] | None = None, **given: Any) -> Command:
    return render(recipe, recipe.submit, values(recipe, variables, **given))


def run(command: Command) -> CommandResult:
    return asyncio.run(CommandRunner().run(command))


def test_the_list_form_is_an_argument_vector() -> None:
    subject = recipe(
        "  run: [launch, '--queue=${queue}', [-t, '${time}'], '${more}']\n  stdin: 'for ${job_name}'\n  timeout: 5\n",
        "variables: {queue: {}, time: {}, more: {}}\nenv: {A: '${queue}', B: b}\n",
    )

    assert submit(subject, {"queue": "q", "more": ["-x", "y z"]}) == Command(
        ("launch", "--queue=q", "-x", "y z"), "for name", {"A": "q", "B": "b"}, 5, operation="submit"
    )


def test_the_text_form_is_a_script_with_its_values_beside_it() -> None:
    subject = recipe(
        '  run: launch "$queue" $more "$time" "$job_key"\n  env: {A: own}\n',
        "variables: {queue: {}, time: {}, more: {}, unused: {}}\nenv: {A: all}\n",
    )

    assert submit(subject, {"queue": "q;id", "more": ["x", "y"], "unused": "u"}) == Command(
        ("/bin/sh", "-c", 'unset time; launch "$queue" $more "$time" "$job_key"'),
        "",
        {"A": "own", "queue": "q;id", "more": "x\ny", "job_key": "pf-1"},
        operation="submit",
    )


def test_what_is_null_is_unset_whatever_the_worker_has_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("queue", "the worker's")
    monkeypatch.setenv("job_name", "the worker's")
    subject = recipe('  run: echo "${queue-unset} $job_name"\n', "variables: {queue: {}}\n")

    assert run(submit(subject)).stdout == "unset name\n"
    assert run(submit(subject, {"queue": ""})).stdout == "unset name\n"


def test_the_job_script_is_written_only_where_it_is_named() -> None:
    exec_form = recipe("  run: [launch]\n  stdin: ${job_script}\n")
    shell_form = recipe('  run: launch "$job_script"\n')
    broken = "it's"

    assert "; exec true) </dev/null &\n" in submit(exec_form).stdin
    assert submit(shell_form).env["job_script"] == submit(exec_form).stdin
    assert submit(recipe("  run: [launch]\n"), command=broken).argv == ("launch",)


def test_files_are_rendered_as_text_or_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    subject = recipe(
        "  run: [launch, '${file_job}', '${file_env}']\n",
        "files: {job: '${job_script}', env: {a: '${labels}', b: '${deployment_name}'}}\n",
    )
    given = values(subject, labels={"x": "y"})
    folder = tmp_path / "prefect-generic-worker" / worker_host() / "sample"

    assert render_files(subject, given) == {"job": submit_script(subject, given), "env": '{"a": {"x": "y"}}'}
    assert render(subject, subject.submit, given).argv[1:] == (f"{folder}/pf-1/job", f"{folder}/pf-1/env")
    assert given["jobs_dir"] == str(folder) == str(jobs_directory(subject))


def submit_script(subject: Recipe, given: dict[str, Any]) -> str:
    return render_files(subject, given)["job"]


@pytest.mark.parametrize(
    ("submit", "more", "expected"),
    [
        ("  run: [launch]\n", "", False),
        ("  run: [launch]\n", "files: {x: y}\n", False),
        ("  run: [launch]\n", "files: {x: '${job_key}'}\n", True),
        ("  run: [launch, '${job_dir}']\n", "", True),
        ('  run: launch "$jobs_dir"\n', "", True),
        ("  run: [launch]\n  stdin: ${job_dir}\n", "", True),
    ],
)
def test_a_directory_is_made_only_for_what_uses_it(submit: str, more: str, expected: object) -> None:
    assert uses_directory(recipe(submit, more)) is expected


def test_a_command_depends_on_the_names_that_it_uses() -> None:
    more = "variables: {queue: {}, host: {}, token: {}}\nenv: {T: '${token}'}\nvia: {run: [ssh, '${host}']}\n"
    listed = recipe(
        "  run: [launch, '${queue | upper}']\n  stdin: {a: ['${job_key}']}\n  env: {L: '${labels}'}\n", more
    )
    script = recipe('  run: |\n    # one line per job_id\n    env A=1 launch "$queue"\n', more)

    assert used_names(listed, listed.submit) == {"queue", "host", "token", "job_key", "labels"}
    assert used_names(script, script.submit) == {"queue", "host", "token"}


# What a deployment's environment may do to the recipe's own command


def test_no_name_of_a_deployment_is_a_variable_of_the_recipes_command() -> None:
    subject = recipe("  run: cat; echo \"$env\"\n  stdin: ${job_script}\n  env: {OWN: '${env.HARMLESS}'}\n")
    command = submit(subject, env={"LD_PRELOAD": "/evil", "CONTAINERS_CONF": "a\nb", "HARMLESS": "1"})

    assert command.env == {
        "OWN": "1",
        "env": '{"LD_PRELOAD": "/evil", "CONTAINERS_CONF": "a\\nb", "HARMLESS": "1"}',
    }
    assert "export LD_PRELOAD=/evil\n" in command.stdin


def test_what_the_recipe_itself_sets_is_set() -> None:
    subject = recipe("  run: [printenv]\n  env: {PATH: /opt/bin, LD_LIBRARY_PATH: '${job_key}'}\n")

    assert submit(subject).env == {"PATH": "/opt/bin", "LD_LIBRARY_PATH": "pf-1"}


def test_a_recipe_cannot_take_the_names_of_its_variables_from_elsewhere() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe("  run: [printenv]\n  env: ${env}\n")

    assert str(caught.value) == (
        "<recipe>:5:3: submit.env: Expected a mapping, found '${env}'. Give each variable a name: NAME: ${...}. "
        "A job's own environment goes into stdin or files."
    )


@pytest.mark.parametrize("name", ["", "A=1;id;B", "A\nB", "A\n", "A B", "1A", "-A", "BASH_FUNC_x%%", "\u00c4"])
def test_what_is_not_the_name_of_a_variable_is_refused(name: str) -> None:
    with pytest.raises(VariableError) as caught:
        submit(recipe("  run: [printenv]\n"), env={name: "x"})

    assert str(caught.value) == (
        f"env: {name!r} is not the name of a variable. Use letters, digits, underscores, dots and dashes."
    )


# Through `via`


def test_via_stands_in_front_of_the_words() -> None:
    subject = recipe("  run: [launch, 'a b']\n", "variables: {user: {}}\nvia: {run: [sudo, [-u, '${user}'], '--']}\n")

    assert submit(subject, {"user": "me"}).argv == ("sudo", "-u", "me", "--", "launch", "a b")
    assert submit(subject).argv == ("sudo", "--", "launch", "a b")


def test_via_quotes_for_a_far_side_that_is_a_shell() -> None:
    subject = recipe("  run: [launch, 'a b', '$HOME', '']\n", "via: {run: [ssh, host], quote: true}\n")

    assert submit(subject).argv == ("ssh", "host", "launch 'a b' '$HOME' ''")


@pytest.mark.parametrize("shell", ["dash", "bash", "bash --posix"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_the_environment_crosses_a_transport_and_standard_input_after_it(shell: str, size: int) -> None:
    every = "".join(chr(code) for code in (*range(1, 0xD800, 7), *range(0xE000, 0x11000, 7)))
    stdin = "'\"$\\\r\n" + every + "\n\n" + "x" * size
    variables = {"value": every[: 2 * size] or "\n'\n", "n": "kept", "vars": "too"}
    subject = recipe(
        '  run: [sh, -c, \'printf "%s\\0" "$VALUE" "$n" "$vars"; cat\']\n  stdin: \'${text}\'\n',
        "variables: {value: {}, n: {}, vars: {}, text: {}}\n"
        "env: {VALUE: '${value}', n: '${n}', vars: '${vars}'}\nvia: {run: [env]}\n",
    )
    command = submit(subject, {**variables, "text": stdin})

    assert command.argv[1:3] == ("/bin/sh", "-c")

    done = subprocess.run(
        [*shell.split(), *command.argv[2:]], input=command.stdin.encode(), capture_output=True, check=True
    )

    assert done.stderr == b""
    assert done.stdout.decode() == f"{variables['value']}\0kept\0too\0{stdin}"


@pytest.mark.parametrize("given", ["", "5\n", "300\nexport A='x"])
@pytest.mark.parametrize("shell", ["dash", "bash", "bash --posix"])
def test_a_transport_that_loses_standard_input_runs_nothing(shell: str, given: str) -> None:
    subject = recipe("  run: [echo, ran]\n  env: {A: b}\n", "via: {run: [env]}\n")
    words = [*shell.split(), *submit(subject).argv[2:]]
    done = subprocess.run(words, input=given.encode(), capture_output=True, check=False)

    assert done.returncode != 0
    assert done.stdout == b""


def test_a_lost_standard_input_is_told() -> None:
    subject = recipe("  run: [echo, ran]\n  env: {A: b}\n", "via: {run: [sh, -c, 'exec \"$@\" </dev/null', sh]}\n")
    result = run(submit(subject))

    assert (result.exit_code, result.stdout, result.stderr) == (
        125,
        "",
        "generic-worker: no standard input arrived: via has to pass it on, as docker exec -i does\n",
    )


@pytest.mark.parametrize(
    ("program", "code"), [("/nowhere/x", 127), ("'sh', '-c', 'exit 7'", 7), ("'sh', '-c', 'kill -9 $$'", 137)]
)
def test_the_far_sides_exit_code_is_the_commands(program: str, code: int) -> None:
    subject = recipe(f"  run: [{program}]\n  env: {{A: b}}\n", "via: {run: [env]}\n")

    assert run(submit(subject)).exit_code == code


def test_the_script_form_crosses_a_transport() -> None:
    subject = recipe(
        '  run: echo "$value|${absent-unset}"\n',
        "variables: {value: {}, absent: {}}\nvia: {run: [env, -i], quote: false}\n",
    )

    assert run(submit(subject, {"value": "it's"})).stdout == "it's|unset\n"


# Secrets


SECRETIVE = """\
variables:
  aws: {block: aws-credentials}
  pin: {type: string, format: password}
  settings: {type: object}
"""


@pytest.mark.parametrize(
    "run",
    [
        "[launch, '--note=${settings.token}']",
        "[launch, [a, '${settings | json}']]",
        "[launch, '${settings | pairs}']",
        "[launch, '${settings.values() | list}']",
    ],
)
@pytest.mark.parametrize("via", ["", "via: {run: [ssh, host], quote: true}\n"])
@pytest.mark.parametrize("secret", ["plain-secret", "it's a secret", 'a "secret"\n'])
def test_an_expression_does_not_put_a_secret_on_a_command_line(run: str, via: str, secret: str) -> None:
    subject = recipe(f"  run: {run}\n", f"{via}variables: {{settings: {{type: object}}}}\n")

    with pytest.raises(VariableError) as caught:
        submit(subject, {"settings": {"token": secret}})

    assert str(caught.value) == (
        "submit: its command line would hold the value of settings.token, for every user of the host to see. Pass it "
        "through stdin, files or the recipe's env."
    )


def test_an_expression_does_not_put_a_secret_in_front_of_a_command() -> None:
    subject = recipe("  run: [launch]\n", "via: {run: [ssh, '${env.HOST}'], quote: true}\n")

    with pytest.raises(VariableError, match=r"the value of env\.HOST"):
        submit(subject, env={"HOST": "ssh://me:pass-word-1@host"})


@pytest.mark.parametrize(
    "run", ["[launch, --state=production, '--image=${queue}', '--name=${job_name}']", "launch production"]
)
def test_a_word_that_is_there_for_another_reason_is_no_leak(run: str) -> None:
    subject = recipe(f"  run: {run}\n", "variables: {queue: {}}\n")
    command = submit(subject, {"queue": "production"}, env={"DB_PASSWORD": "production"}, job_name="production 1")

    assert "production" in " ".join(command.argv)


def test_secrets_travel_beside_the_command_line() -> None:
    more = SECRETIVE + "env: {KEY: '${aws.key}'}\nvia: {run: [ssh, host], quote: true}\n"
    subject = recipe('  run: launch "$pin"\n  stdin: ${env | json}\n', more)
    command = submit(subject, {"aws": {"key": "block-secret"}, "pin": "pin-secret"}, env={"TOKEN": "env-secret"})

    assert not [word for word in command.argv if "secret" in word]
    assert "secret" not in repr(command)


def test_where_there_is_no_job_there_are_the_variables_and_the_host() -> None:
    subject = recipe("  run: [launch, '--q=${queue}']\n", "variables: {queue: {}, other: {}}\n")
    given = host_values(subject, {"queue": "", "other": []})

    assert given == {
        "queue": None,
        "other": [],
        "worker_host": worker_host(),
        "worker_user": worker_user(),
        "worker_bin": given["worker_bin"],
        "jobs_dir": str(jobs_directory(subject)),
    }
