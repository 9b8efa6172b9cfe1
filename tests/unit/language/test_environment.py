from __future__ import annotations

import shutil
import subprocess

import pytest

from generic_worker.errors import VariableError
from generic_worker.language.environment import env_decoder, env_file

PLAIN = {"A": "b", "URL": "https://me@host:1/a?b=c&d", "BLANKS": "a  b", "EMPTY": "", "DOLLAR": "$HOME", "U": "ü€"}
SPECIAL = {
    "LINES": "a\nb\n\n",
    "TAB": "a\tb",
    "RETURNS": "a\rb\r",
    "QUOTES": """'"`\\n\\c%s""",
    "BEFORE": " a",
    "AFTER": "a\u00a0",
    "COMMENT": "a #b",
    "LONG": 20_000 * "a\nü",
    "N": "a\nb",
}
SHELLS = ["sh", "dash", "bash", "bash --posix", "busybox sh"]


def decoded(lines: str, words: list[str], *shell: str) -> dict[str, str]:
    env = dict(line.split("=", 1) for line in lines.split("\n")[:-1])
    done = subprocess.run([*shell, *words[1:], "env", "-0"], env=env, capture_output=True, check=True)
    return dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)


def test_plain_values_are_lines_and_take_no_shell() -> None:
    assert env_file({**PLAIN, "GONE": None}).splitlines() == [f"{name}={value}" for name, value in PLAIN.items()]
    assert env_decoder(PLAIN) == []


@pytest.mark.parametrize("shell", [one for one in SHELLS if shutil.which(one.split()[0])])
def test_what_no_line_can_hold_is_encoded_under_neutral_names_and_decoded_by_a_shell(shell: str) -> None:
    env = PLAIN | SPECIAL
    lines = env_file(env)
    found = decoded(lines, env_decoder(env), *shell.split())

    assert {name: found.get(name) for name in env} == env
    assert [name for name in found if name.startswith("GENERIC_WORKER")] == []
    assert not {line.partition("=")[0] for line in lines.splitlines()} & set(SPECIAL)
    assert max(len(line) for line in lines.splitlines()) < 16_000


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            {"GENERIC_WORKER_ENV_1": "x"},
            "env: names that begin with GENERIC_WORKER_ENV_ are the worker's own. Rename GENERIC_WORKER_ENV_1.",
        ),
        ({"UID": "a\nb"}, "env: UID is the shell's own; its value must be short, on one line and without quotes."),
        ({"a.b": "a\nb"}, "env: 'a.b' cannot be set by a shell. Use letters, digits and underscores."),
    ],
)
def test_names_that_cannot_be_set_again_are_refused(env: dict[str, str], message: str) -> None:
    with pytest.raises(VariableError) as caught:
        env_file(env)

    assert str(caught.value) == message
