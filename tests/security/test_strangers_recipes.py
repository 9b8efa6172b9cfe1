"""A recipe of a stranger's: `generic-worker check` says what is wrong with it, and nothing in it hurts who looks."""

import resource
import subprocess
import sys

import pytest

RECIPE = """\
recipe: 1
name: strangers
variables:
  value: {{type: string, pattern: {pattern}, default: {default}}}
submit: {{run: [launch, '--value=${{value}}', {word}], output: {{columns: [id]}}}}
find: {{run: [list], output: {{columns: [id, key]}}}}
status: {{run: [list], output: {{columns: [id, state]}}}}
cancel: {{run: [stop, '${{job_id}}']}}
states: {{finished: [done]}}
"""
MOST = 2 * 1024**3
"""Bytes of memory, more than `check` ever needs and less than 10**10 characters."""
NAMES = "'^-?[a-z]+$'"
RECIPES = {  # the pattern of its variable, its default, and a word of its command; and what is said of them
    "memory": (NAMES, "x", "\"${ 'x' * 10**10 }\"", ""),
    "numbers": (NAMES, "x", "'${ 9**9**9 }'", ""),
    "parentheses": (NAMES, "x", f"'${{{5000 * '('}1{5000 * ')'}}}'", "5:44: submit.run[2]: '(((("),
    "minus-signs": (NAMES, "x", f"'${{{5000 * '-'}1}}'", "5:44: submit.run[2]: '----"),
    "braces": (NAMES, "x", f"'${{ ({100_000 * '}'}'", "5:44: submit.run[2]: '${ (}' is not an expression"),
    "pattern": ("'^(?:a|aa)+$'", f"{80 * 'a'}!", "x", "the pattern '^(?:a|aa)+$' takes too long for it."),
    "terminal": (NAMES, "x", r'"${ value | \e]0;evil\a\e[2J }"', r"\x1b]0;evil\x07\x1b[2J"),
    "lists": (NAMES, "x", 50_000 * "[", "This is nested more than 64 levels deep."),
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """What one call of `check` says of them all, by their names; it may use so much memory, and no time to speak of."""
    folder = tmp_path_factory.mktemp("recipes")
    for name, (pattern, default, word, _) in RECIPES.items():
        (folder / f"{name}.yaml").write_text(RECIPE.format(pattern=pattern, default=default, word=word))
    done = subprocess.run(
        [sys.executable, "-m", "generic_worker.cli", "check", *(f"{name}.yaml" for name in RECIPES)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST)),
    )
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    return {name: "\n".join(line for line in lines if line.startswith(f"{name}.yaml:")) for name in RECIPES}


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_judged_and_nothing_happens(name, verdicts):
    said, verdict = RECIPES[name][-1], verdicts[name]

    assert said in verdict
    assert (": OK, " in verdict) is (not said)
    assert all(character.isprintable() or character == "\n" for character in verdict)
    assert len(verdict) < 1000  # it is not shown whole
