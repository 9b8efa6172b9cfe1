"""What `recipes/README.md` and the schema say is true: recipes are checked, commands are run, no key is missing."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml
from jinja2.defaults import DEFAULT_FILTERS

from generic_worker.cli.main import run
from generic_worker.language import operations, recipe
from generic_worker.language.filters import FILTERS
from generic_worker.language.json_schema import language_schema
from generic_worker.language.value_types import JOB_NAMES, Closed
from generic_worker.library.loading import load
from generic_worker.syntax.yaml_text import read_text

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

RECIPES = Path(__file__).parents[2] / "recipes"
PAGE = (RECIPES / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([a-z ]+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
YAML = {text.partition("\n")[0].removeprefix("# "): (kind, text) for kind, text in BLOCKS if kind.startswith("yaml")}
CALL_RE = re.compile(r"(?:printf '(?P<stdin>[^']*)' \| )?generic-worker (?P<arguments>.*)")
SECTIONS = {
    "The recipe": recipe.Recipe,
    "Every command": operations.Operation,
    "`submit`": operations.Submit,
    "`find`": operations.Find,
    "`status`": operations.Status,
    "`watch`": operations.Watch,
    "`explain`": operations.Explain,
    "`cancel`": operations.Cancel,
    "`output`": operations.Output,
    "`output.fields`": operations.JsonField,
    "`via`": recipe.Via,
    "`script`": recipe.Script,
    "`policy`": recipe.Policy,
    "`policy.resubmit`": recipe.Resubmit,
    "`examples`": recipe.Example,
}


def calls() -> list[tuple[str, str]]:
    """Every command of a console block, with what it prints."""
    text = "".join(text for kind, text in BLOCKS if kind == "console")
    return [
        (call.split("\n")[0], call.partition("\n")[2]) for call in re.split(r"^\$ ", text, flags=re.MULTILINE) if call
    ]


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A directory with every recipe of the page."""
    for name, (_, text) in YAML.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [name for name, (kind, _) in YAML.items() if kind == "yaml"])
def test_a_recipe_on_the_page_passes_check(page, name, capsys):
    assert run(["check", name]) == 0

    printed = capsys.readouterr().out

    assert re.fullmatch(rf"{name}: OK, .*\.\n", printed) or f"$ generic-worker check {name}\n{printed}" in PAGE


@pytest.mark.parametrize("name", [name for name, (kind, _) in YAML.items() if kind == "yaml wrong"])
def test_a_trap_on_the_page_is_one(page, name):
    assert run(["check", name]) == 1


@pytest.mark.parametrize(("line", "expected"), calls())
def test_a_command_on_the_page_prints_what_the_page_shows(page, line, expected, capsys, monkeypatch):
    call = CALL_RE.fullmatch(line)

    assert call, line

    stdin = (call["stdin"] or "").replace("\\n", "\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
    run(shlex.split(call["arguments"]))
    printed = capsys.readouterr()
    shown = [text.rstrip("\n") for text in expected.split("...\n")]

    assert printed.err == ""
    if len(shown) == 1:
        assert printed.out.rstrip("\n") == shown[0]
    else:
        assert printed.out.startswith(shown[0])


def entry(name: str, field: FieldInfo) -> str:
    """A key's line on the page, made from its description."""
    text = f"- `{field.alias or name}`: {field.description}"
    if field.is_required():
        return f"{text} Required."
    plain = isinstance(field.default, str | int | float) and not isinstance(field.default, bool) and field.default != ""
    return f"{text} Default: {field.default}." if plain else text


def own(model: type[Closed]) -> set[str]:
    """The keys that a kind of command describes otherwise than others do."""
    every = operations.Operation.model_fields
    return {
        name
        for name, field in model.model_fields.items()
        if field.description != getattr(every.get(name), "description", "")
    }


@pytest.mark.parametrize("title", SECTIONS)
def test_the_page_has_every_key_with_its_description(title):
    model = SECTIONS[title]
    inherited = set() if model is operations.Operation else set(operations.Operation.model_fields)
    inherited = inherited - own(model) if issubclass(model, operations.Operation) else set()
    section = PAGE.partition(f"\n### {title}\n")[2].partition("\n#")[0]

    assert re.findall(r"^- `.*", section, re.MULTILINE) == [
        entry(name, field) for name, field in model.model_fields.items() if name not in inherited
    ]


def test_the_page_has_every_model():
    models = {
        one
        for one in {**vars(operations), **vars(recipe)}.values()
        if isinstance(one, type) and issubclass(one, Closed)
    }

    assert models - {Closed} == set(SECTIONS.values())


def test_the_page_has_every_name_and_every_state():
    names = PAGE.partition("\n## Every name\n")[2].partition("\n#")[0]

    for name, meaning in JOB_NAMES.items():
        assert f"- `{name}`: {meaning}\n" in names
    for state in ("pending", "running", "succeeded", "failed", "cancelled", "finished"):
        assert f"\n- `{state}`: " in PAGE


def test_the_page_has_every_filter_of_our_own():
    for name in set(FILTERS) - set(DEFAULT_FILTERS):
        assert re.search(rf"^- `\$\{{\w+ \| {name}\}}`: ", PAGE, re.MULTILINE), name


def test_a_process_group_is_signalled_in_the_way_that_the_page_says():
    script = 'setsid sleep 60 & group=$!; until kill -s TERM -- "-$group"; do sleep 0.1; done; wait $group; echo $?'

    assert '`kill -s TERM -- "-$group"`' in PAGE
    assert subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout == "143\n"


def test_the_site_overlay_on_the_page_is_the_one_in_the_examples():
    file = (RECIPES / "examples" / "slurm-site.yaml").read_text(encoding="utf-8")

    assert YAML["slurm-site.yaml"][1].partition("\n")[2] == file[file.index("recipe: 1") :]


def test_the_links_on_the_page_lead_somewhere():
    headings = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)", PAGE, re.MULTILINE)
    }

    for target in re.findall(r"\]\(([^)]*)\)", PAGE):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (RECIPES / target).is_file()


FORGETS = "A job that is gone has ended, and how, only its flow run says."
"""What is said of recipes for tools that list only what is there: examples show such."""
FILES = sorted(RECIPES.rglob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bundled_recipe_passes_check_without_a_warning(path, capsys):
    assert run(["check", str(path)]) == 0

    *warnings, verdict = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"{re.escape(str(path))}: OK, .*\.", verdict)
    assert [text for text in warnings if not (path.parent.name == "examples" and text.endswith(FORGETS))] == []


def test_the_hook_for_other_repositories_calls_check_on_their_recipes():
    manifest = RECIPES.parent / ".pre-commit-hooks.yaml"
    if not manifest.is_file():
        pytest.skip("not a checkout")
    (hook,) = yaml.safe_load(manifest.read_text(encoding="utf-8"))

    assert (hook["id"], hook["entry"], hook["language"]) == ("generic-worker-check", "generic-worker check", "python")
    for path in ("recipes/slurm.yaml", "ops/recipes/site.yml"):
        assert re.search(hook["files"], path)
    for path in ("recipes/examples/values.yaml", "config/app.yaml", "recipes/recipe.schema.json"):
        assert not re.search(hook["files"], path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bundled_recipe_names_the_schema_in_its_first_line(path):
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)

    assert named
    assert (path.parent / named[1]).resolve() == RECIPES / "recipe.schema.json"


def test_the_schema_beside_the_recipes_is_up_to_date(capsys):
    assert run(["schema"]) == 0

    shipped = (RECIPES / "recipe.schema.json").read_text(encoding="utf-8")
    assert capsys.readouterr().out == shipped, "run: generic-worker schema > recipes/recipe.schema.json"


def schema_errors(data: object) -> list[str]:
    validator = jsonschema.Draft202012Validator(language_schema())
    return [error.message for error in validator.iter_errors(data)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_schema_allows_every_bundled_recipe(path):
    assert schema_errors(read_text(path.read_text(encoding="utf-8"), path.name).data) == []


@pytest.mark.parametrize("name", [name for name, (kind, _) in YAML.items() if kind == "yaml"])
def test_the_schema_allows_every_recipe_of_the_page(page, name):
    assert schema_errors(read_text(YAML[name][1], name).data) == []
    assert schema_errors(load(name).data) == []
