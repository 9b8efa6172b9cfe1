"""What makes a well-shaped recipe wrong or doubtful: names, patterns, paths, states, secrets, and Prefect's own traps.

It looks at a recipe only; nothing is run. Every problem is reported with its place, all of them at once.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import jsonschema
from pydantic import ValidationError

from generic_worker.errors import OutputError, Problem, RecipeError
from generic_worker.expressions import ExpressionError, compile_text, texts_in
from generic_worker.outputs import compile_jsonpath
from generic_worker.recipe import JOB_NAMES, JsonField, Recipe
from generic_worker.shapes import did_you_mean, shape_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from generic_worker.recipe import Operation, Output
    from generic_worker.source import Path, Source

_PREFECT_PLACEHOLDER_RE = re.compile(r"{{\s*([\w\.\-\[\]$]+)\s*}}")
_SHELL_VARIABLE_RE = re.compile(r"(?<!\\)\$\{([a-z][a-z0-9_]*)[^}]*\}")
_SECRET_NAMES = {"env": "write ${env | names} for the names alone", "job_script": "pass it through stdin or files"}


def parse(source: Source) -> Recipe:
    """Make a recipe of plain data.

    Raises:
        RecipeError: It is wrong; all problems that were found are listed.
    """
    try:
        recipe = Recipe.model_validate(source.data)
    except ValidationError as error:
        raise RecipeError([shape_problem(source, details) for details in error.errors()]) from None
    problems = [source.problem(path, message) for path, message in _errors(recipe, source.data)]
    if problems:
        raise RecipeError(problems)
    return recipe


def warnings(source: Source, recipe: Recipe) -> list[Problem]:
    """What is doubtful in a recipe that can be used."""
    found = [*_unused_variables(recipe), *_option_like(recipe), *_missing_find(recipe)]
    return sorted(source.problem(path, message) for path, message in found)


Finding = tuple[tuple[str | int, ...], str]


def _errors(recipe: Recipe, data: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _variables(recipe)
    yield from _expressions(recipe)
    for path, operation in recipe.operations():
        yield from _shell_script(recipe, path, operation)
        yield from _secrets(recipe, path, operation)
        output = getattr(operation, "output", None)
        if output is not None:
            yield from _output(recipe, path, operation, output)
    yield from _states(recipe)
    yield from _prefect_traps((), data)


def _variables(recipe: Recipe) -> Iterator[Finding]:
    for name, schema in recipe.variables.items():
        path = ("variables", name)
        if "block" in schema:
            extra = set(schema) - {"block", "title", "description", "default"}
            if not isinstance(schema["block"], str) or extra:
                yield path, "a block variable has the keys block (a block type's slug), title, description and default."
            continue
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
            if schema.get("default") is not None:
                jsonschema.validate(schema["default"], schema, jsonschema.Draft202012Validator)
        except jsonschema.SchemaError as error:
            yield (*path, *_plain(error.absolute_path)), f"not JSON Schema: {error.message}."
        except jsonschema.ValidationError as error:
            yield (*path, "default"), f"the default does not suit the schema: {error.message}."
    for index, name in enumerate(recipe.required):
        if name not in recipe.variables:
            yield ("required", index), f"{name!r} is not among the variables.{did_you_mean(name, list(recipe.variables))}"


def _plain(path: Any) -> list[str | int]:  # noqa: ANN401 - a deque of jsonschema's
    return list(path)


_SUBMITTED = ("job_id", "job_ids")


def _available(recipe: Recipe, path: Path) -> frozenset[str]:
    """The names that an expression at a path may use."""
    captured = recipe.names - set(JOB_NAMES) - set(recipe.variables) - {f"file_{name}" for name in recipe.files}
    first = path[0]
    if first == "scope":
        return frozenset({*recipe.variables, "worker_host"})
    if first == "check":
        return frozenset({*recipe.variables, "worker_host", "jobs_dir"})
    if first in {"submit", "find", "files"}:
        return recipe.names - {*_SUBMITTED, *captured}
    return recipe.names if first == "status" else recipe.names - {"job_ids"}


def _expressions(recipe: Recipe) -> Iterator[Finding]:
    """Expressions that cannot be read, or that name what is not there."""
    for path, text in _templates(recipe):
        try:
            names = compile_text(text).names
        except ExpressionError as error:
            yield path, f"{str(error)[0].upper()}{str(error)[1:]}."
            continue
        for name in sorted(names - _available(recipe, path)):
            if name in recipe.names:
                yield path, f"${{{name}}} has no value here: {path[0]} runs without it."
            else:
                yield path, f"${{{name}}} names nothing.{did_you_mean(name, sorted(_available(recipe, path)))}"


def _templates(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    """Every text of a recipe that may hold expressions."""
    if recipe.scope:
        yield ("scope",), recipe.scope
    yield from _texts(("env",), recipe.env)
    yield from _texts(("files",), recipe.files)
    if recipe.via:
        yield from _texts(("via", "run"), recipe.via.run)
    for path, operation in recipe.operations():
        if not isinstance(operation.run, str):
            yield from _texts((*path, "run"), operation.run)
        yield from _texts((*path, "env"), operation.env)
        yield from _texts((*path, "stdin"), operation.stdin)


def _texts(path: Path, structure: Any) -> Iterator[tuple[Path, str]]:  # noqa: ANN401
    if isinstance(structure, str):
        yield path, structure
    elif isinstance(structure, dict):
        for key, value in structure.items():
            yield from _texts((*path, key), value)
    elif isinstance(structure, list):
        for index, value in enumerate(structure):
            yield from _texts((*path, index), value)


def _shell_script(recipe: Recipe, path: Path, operation: Operation) -> Iterator[Finding]:
    """Names in the shell form that nothing sets: a misspelt variable would be an empty word."""
    if not isinstance(operation.run, str):
        return
    script = operation.run
    own = set(re.findall(r"\b([A-Za-z_][A-Za-z0-9_]*)=", script)) | set(re.findall(r"\bfor\s+(\w+)\b", script))
    own |= {name for names in re.findall(r"\bread\s+(?:-\w+\s+)*([\w ]+)", script) for name in names.split()}
    for name in sorted(set(_SHELL_VARIABLE_RE.findall(script)) - own - _available(recipe, path)):
        if name in recipe.names:
            yield (*path, "run"), f"${{{name}}} has no value here: {path[0]} runs without it."
        else:
            yield (*path, "run"), f"${{{name}}} names nothing.{did_you_mean(name, sorted(_available(recipe, path)))}"


def _secrets(recipe: Recipe, path: Path, operation: Operation) -> Iterator[Finding]:
    if isinstance(operation.run, str):
        return
    for place, text in _texts((*path, "run"), operation.run):
        for part in compile_parts(text):
            for name, hint in _SECRET_NAMES.items():
                if re.search(rf"\b{name}\b", part) and not re.search(rf"\b{name}\s*\|\s*names\b", part):
                    yield place, f"${{{part}}} would put secrets on a command line, for every user of the host to see: {hint}."


def compile_parts(text: str) -> list[str]:
    """The sources of the expressions in a text; none if it cannot be read."""
    try:
        return [part.source for part in compile_text(text).parts if not isinstance(part, str)]
    except ExpressionError:
        return []


def _output(recipe: Recipe, path: Path, operation: Operation, output: Output) -> Iterator[Finding]:
    fields, place = output.field_names, (*path, "output")
    verb = path[0]
    if verb in {"submit", "find"} and "id" not in fields:
        yield place, f"nothing yields the field id. {_how_to_yield(output, 'id')}"
    if verb == "status":
        if "state" not in fields:
            yield place, f"nothing yields the field state. {_how_to_yield(output, 'state')}"
        if fields.isdisjoint({"id", "key"}) and not _asks_for_one(operation):
            yield place, f"nothing yields the field id, and the command asks about many jobs. {_how_to_yield(output, 'id')}"
    if verb == "find" and "key" not in fields and "job_key" not in _mentioned(operation):
        yield place, f"nothing yields the field key, and the command lists many jobs. {_how_to_yield(output, 'key')}"
    if output.json_path:
        yield from _json_paths(place, output)


def _how_to_yield(output: Output, field: str) -> str:
    if output.regex:
        return f"Name a group of the pattern: (?P<{field}>...)."
    return f"Add {field} to {'columns' if output.columns else 'fields'}."


def _mentioned(operation: Operation) -> set[str]:
    return {name for text in texts_in([operation.run, operation.stdin]) for name in re.findall(r"\w+", text)}


def _asks_for_one(operation: Operation) -> bool:
    return not {"job_id", "job_key", "job_dir"}.isdisjoint(_mentioned(operation))


def _json_paths(place: Path, output: Output) -> Iterator[Finding]:
    paths: list[tuple[Path, str]] = [((*place, "json"), output.json_path or "")]
    for name, spec in (output.fields or {}).items():
        at = (*place, "fields", name)
        if isinstance(spec, JsonField):
            paths.append(((*at, "path"), spec.path))
        elif isinstance(spec, list):
            paths += [((*at, index), path) for index, path in enumerate(spec)]
        else:
            paths.append((at, spec))
    for path, text in paths:
        try:
            compile_jsonpath(text)
        except OutputError as error:
            yield path, f"{error}."


def _states(recipe: Recipe) -> Iterator[Finding]:
    counts = Counter(word for words in recipe.states.values() for word in words)
    seen: dict[str, str] = {}
    for name, words in recipe.states.items():
        for index, word in enumerate(words):
            if counts[word] > 1 and word in seen:
                yield ("states", name, index), f"{word!r} is already listed under {seen[word]}."
            seen.setdefault(word, name)
    if not {"succeeded", "finished"} & set(recipe.states):
        yield ("states",), "no word says that a job has succeeded. Add succeeded, or finished for words that go with an exit code."


def _prefect_traps(path: Path, data: Any) -> Iterator[Finding]:  # noqa: ANN401
    """What Prefect would read as its own when the recipe is part of a base job template."""
    if path[:1] == ("examples",) or path[:1] == ("variables",):
        return
    if isinstance(data, str):
        for found in _PREFECT_PLACEHOLDER_RE.finditer(data):
            name = found[1]
            hint = f"{{{{print {name}}}}} or {{{{json {name}}}}}" if name.startswith(".") else f"${{{name}}}"
            yield path, f"Prefect takes {found[0]} for a placeholder of its own. Write {hint}."
    elif isinstance(data, dict):
        for key, value in data.items():
            if key == "$ref":
                yield (*path, key), "Prefect takes the key $ref for a reference to a block. Use another key, or pass the text as a file."
            else:
                yield from _prefect_traps((*path, key), value)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _prefect_traps((*path, index), value)



def _unused_variables(recipe: Recipe) -> Iterator[Finding]:
    used = {name for _, text in _templates(recipe) for name in compile_text(text).names}
    scripts = [op.run for _, op in recipe.operations() if isinstance(op.run, str)] + [recipe.script.before]
    used |= {word for script in scripts for word in re.findall(r"\w+", script)}
    for name in recipe.variables:
        if name not in used:
            yield ("variables", name), "no command uses this variable."


def _option_like(recipe: Recipe) -> Iterator[Finding]:
    """Words that a deployment could turn into an option of the recipe's own command."""
    for path, operation in recipe.operations():
        if isinstance(operation.run, str):
            continue
        for index, word in enumerate(operation.run):
            if word == "--":
                break
            sources = compile_parts(word) if isinstance(word, str) else []
            name = sources[0] if len(sources) == 1 and word == f"${{{sources[0]}}}" else None
            if name is None or name not in recipe.variables:
                continue
            schema = recipe.variables[name]
            by_intent = schema.get("type") == "array" and "option" in schema.get("description", "").lower()
            if schema.get("type") in {"integer", "number", "boolean"} or "enum" in schema or by_intent or _no_dash(schema):
                continue
            yield (*path, "run", index), (
                f"a value of {name} that begins with a dash would be an option. Put '--' before it, or give {name} a "
                "pattern that excludes it, such as '^[^-]'."
            )


def _no_dash(schema: Mapping[str, Any]) -> bool:
    pattern = schema.get("pattern") or schema.get("items", {}).get("pattern")
    return bool(pattern) and not re.search(pattern, "-x") and not re.search(pattern, "--x=y")


def _missing_find(recipe: Recipe) -> Iterator[Finding]:
    if recipe.find is None:
        yield ("submit",), "without find, a job whose submission was not answered is lost. Add find if the key can be looked up."
