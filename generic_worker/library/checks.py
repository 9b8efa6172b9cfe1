"""What makes a well-shaped recipe wrong: names, patterns, paths, states, secrets, and Prefect's own traps.

It looks at a recipe only; nothing is run. Every problem is reported with its place, all of them at once.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from generic_worker.answers.records import compile_jsonpath
from generic_worker.commands.secret_values import is_secret_field, is_secret_name
from generic_worker.errors import OutputError, RecipeError
from generic_worker.language.expressions import ExpressionError, compile_text
from generic_worker.language.job_script import expressions_in, shell_names, unset_names
from generic_worker.language.operations import JsonField, Status
from generic_worker.language.recipe_texts import scripts, templates
from generic_worker.language.structures import names_in, texts
from generic_worker.language.value_types import ABOUT_MANY, HOST_NAMES, JOB_NAMES
from generic_worker.library.validation import did_you_mean, mended, schema_problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from generic_worker.language.operations import Operation, Output
    from generic_worker.language.recipe import Recipe
    from generic_worker.syntax.source import Path, Source

_PREFECT_PLACEHOLDER_RE = re.compile(r"(?<!\$){{\s*([\w\.\-\[\]$]+)\s*}}")
_SUBMITTED = frozenset({"job_id", "job_ids"})
_PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})


def parse(source: Source) -> Recipe:
    """Make a recipe of plain data.

    Raises:
        RecipeError: It is wrong; all problems that were found are listed.
    """
    recipe, problems, replaced = mended(source)
    if recipe is not None:
        lost = _lost_names(source.data, replaced)
        named = [(path, message) for path, name, message in _name_errors(recipe) if not lost.fullmatch(name)]
        for path, message in (*_errors(recipe, source.data), *named):
            if not any(path[: len(other)] == other[: len(path)] for other in replaced):
                problems.append(source.problem(path, message))
    if problems or recipe is None:
        raise RecipeError(problems)
    return recipe


def _lost_names(data: Mapping[str, Any], replaced: list[Path]) -> re.Pattern[str]:
    """The names that a recipe would have if it were not misshapen."""
    variables, files = (data.get(key) for key in ("variables", "files"))
    names = [re.escape(name) for name in variables] if isinstance(variables, dict) else []
    names += [f"file_{re.escape(name)}" for name in files] if isinstance(files, dict) else []
    captured = any(path[:2] == ("submit", "output")[: len(path)] for path in replaced)
    return re.compile("|".join([*names, *(["job_.*"] if captured else [])] or ["(?!)"]))


def _errors(recipe: Recipe, data: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    yield from schema_problems(recipe)
    for path, text in templates(recipe):
        try:
            names = compile_text(text).names
        except ExpressionError as error:
            yield path, str(error)
        else:
            if "job_script" in names and "env" in path and "stdin" not in path and path[0] != "files":
                yield path, "${job_script} has no value in an environment. Pass it through stdin or files."
    for path, script in scripts(recipe):
        for text, name in expressions_in(script):
            if name in recipe.names:
                yield path, f'{text} is no expression here: the shell reads it. Write "${name}", or make run a list.'
    for path, operation in recipe.operations():
        yield from _secrets(recipe, (*path, "run"), operation.run)
        output = getattr(operation, "output", None)
        if output is not None:
            yield from _output(recipe, path, operation, output)
    yield from _secrets(recipe, ("via", "run"), recipe.via.run if recipe.via else None)
    yield from _states(recipe)
    yield from _prefect_traps((), data)


def _name_errors(recipe: Recipe) -> Iterator[tuple[Path, str, str]]:
    """Names that are not there, or have no value where they stand: where, which, and what is wrong."""
    for path, text in templates(recipe):
        yield from _unknown(recipe, path, _names(text))
    for path, script in scripts(recipe):  # a misspelt variable would be an empty word
        yield from _unknown(recipe, path, unset_names(script) - _PROXIES - _environment_names(recipe, path))
    for index, name in enumerate(recipe.required):
        if name not in recipe.variables:
            hint = did_you_mean(name, list(recipe.variables))
            yield ("required", index), name, f"{name!r} is not among the variables.{hint}"


def _available(recipe: Recipe, path: Path) -> frozenset[str]:
    """The names that an expression at a path may use."""
    captured = recipe.names - set(JOB_NAMES) - set(recipe.variables) - {f"file_{name}" for name in recipe.files}
    first = path[0]
    if first == "scope":
        return frozenset({*recipe.variables, "worker_host", "worker_user"})
    if first in {"check", "watch"} or (first == "via" and _without_a_job(recipe)):
        shared = (f"file_{name}" for name in recipe.shared_files)
        return frozenset({*recipe.variables, *HOST_NAMES, *shared})
    if first in {"submit", "find", "files", "via", "script"}:
        return recipe.names - _SUBMITTED - captured
    return recipe.names if first in {*ABOUT_MANY, "env"} else recipe.names - {"job_ids"}


def _without_a_job(recipe: Recipe) -> str:
    """A command of the recipe that is run without a job; empty if there is none."""
    return "check" if recipe.check else "watch" if recipe.watch else ""


def _unknown(recipe: Recipe, path: Path, names: frozenset[str]) -> Iterator[tuple[Path, str, str]]:
    available = _available(recipe, path)
    for name in sorted(names - available):
        if name in recipe.names:
            yield path, name, f"${{{name}}} has no value here: {_why_not(recipe, path, name)}."
        else:
            yield path, name, f"${{{name}}} names nothing.{did_you_mean(name, sorted(available))}"


def _why_not(recipe: Recipe, path: Path, name: str) -> str:
    if name == "job_ids":
        return "only status, explain and cleanup can be about several jobs"
    if path[0] in {"submit", "find", "files", "script"}:
        return "the job is not submitted yet"
    if path[0] == "via":
        jobless = _without_a_job(recipe)
        return f"it stands before {jobless} too, which has no job" if jobless else "it stands before submit too"
    return f"{path[0]} is about no job"


def _environment_names(recipe: Recipe, path: Path) -> set[str]:
    """The variables that the recipe's own environment sets for a script."""
    operation = next((one for place, one in recipe.operations() if place == path[:-1]), None)
    envs = [recipe.env, operation.env] if operation else []
    return {name for env in envs for name in env}


def _secrets(recipe: Recipe, path: Path, run: object) -> Iterator[tuple[Path, str]]:
    """Expressions that would put a secret on a command line, for every user of the host to see."""
    for place, text in texts(path, run) if isinstance(run, list) else ():
        for part in compile_parts(text):
            hint = _secret_in(recipe, part)
            if hint:
                yield (
                    place,
                    f"${{{part}}} would put secrets on a command line, for every user of the host to see. {hint}.",
                )


def _secret_in(recipe: Recipe, part: str) -> str:
    """What to write instead of an expression that shows a secret; empty if it shows none."""
    if re.search(r"\bjob_script\b", part) or any(re.search(rf"\b{name}\b", part) for name in recipe.passwords):
        return "Pass it through stdin, files or env"
    harmless = r"\s*\|\s*env_decoder\b"
    for name in ("env", *recipe.blocks):
        for found in re.finditer(rf"\b{name}\b((?:\.\w+|\[\s*'\w+'\s*\])*)({harmless})?", part):
            field = (re.findall(r"\w+", found[1]) or [""])[-1]
            is_secret = is_secret_name if name == "env" else is_secret_field
            if not found[2] and (not field or is_secret(field)):
                return "Pass it through stdin, files or env"
    return ""


def compile_parts(text: str) -> list[str]:
    """The sources of the expressions in a text; none if it cannot be read."""
    try:
        return [part.source for part in compile_text(text).parts if not isinstance(part, str)]
    except ExpressionError:
        return []


def _output(recipe: Recipe, path: Path, operation: Operation, output: Output) -> Iterator[tuple[Path, str]]:
    kind = "regex" if output.regex else "columns" if output.columns else "fields" if output.fields else ""
    fields, place, verb = output.field_names, (*path, "output", *([kind] if kind else [])), path[0]
    mentioned = _mentioned(recipe, operation)
    one = not mentioned.isdisjoint({"job_id", "job_key", "job_dir"} if verb != "find" else {"job_key"})
    missing = _missing_fields(str(verb), fields, kind, one=one, many="job_ids" in mentioned)
    if missing:
        yield place, missing
    if output.id_ and verb not in {"submit", "find"}:
        yield (*path, "output", "id"), "Only submit and find have it. Here the field key is enough to know a job by."
    if verb == "submit":
        for field in sorted({f"job_{name}" for name in fields - {"id", "key", "name"}} & set(JOB_NAMES)):
            yield (
                place,
                f"The field {field[4:]!r} would be {field}, which has a meaning of its own. Choose another name.",
            )
    if (
        isinstance(operation, Status)
        and operation.absent
        and not one
        and "id" not in re.compile(operation.absent).groupindex
    ):
        yield (
            (*path, "absent"),
            "The command asks about many jobs, and this names none of them. Name its group: (?P<id>...).",
        )
    if output.json_path:
        yield from _json_paths((*path, "output"), output)


def _missing_fields(verb: str, fields: frozenset[str], kind: str, *, one: bool, many: bool) -> str:
    """What a command's output has to yield besides, in one message; empty if that is nothing."""
    needed = {"submit": {"id"}, "find": {"id"} if one else {"id", "key"}, "status": {"state"}}.get(verb, set())
    missing, hint = sorted(needed - fields), ""
    why = ", and the command lists many jobs" if "key" in missing else ""
    if verb == "watch" and fields.isdisjoint({"id", "key"}):
        missing, why = ["id"], " or key"
    elif (verb == "status" and fields.isdisjoint({"id", "key"}) and not one) or (
        verb == "explain" and many and "id" not in fields
    ):
        missing, why = ["id", *missing], ", and the command asks about many jobs"
    if not missing:
        return ""
    if verb in {"submit", "find"}:
        rename = "" if "id" in missing else "call it key, and "
        hint = f" If the id is the key, {rename}write id: '${{job_key}}' in output."
    names = " and ".join(missing)
    if kind == "regex":
        groups = " and ".join(f"(?P<{name}>...)" for name in missing)
        how = f"Name {'a group' if len(missing) == 1 else 'groups'} of the pattern: {groups}."
    else:
        how = f"Add {names} to {kind}." if kind else "Read it with regex, json or columns."
    return f"Nothing yields the field{'s' * (len(missing) > 1)} {names}{why}. {how}{hint}"


def _mentioned(recipe: Recipe, operation: Operation) -> set[str]:
    """The names that a command itself uses, so that it is about one job."""
    script = operation.run if isinstance(operation.run, str) else ""
    used = [text for part in ([] if script else operation.run, operation.stdin) for _, text in texts((), part)]
    return {*shell_names(script, recipe.names), *(name for text in used for name in _names(text))}


def _names(text: str) -> frozenset[str]:
    try:
        return names_in(text)
    except ExpressionError:
        return frozenset()


def _json_paths(place: Path, output: Output) -> Iterator[tuple[Path, str]]:
    paths: list[tuple[Path, str]] = [((*place, "json"), output.json_path or "")]
    for name, spec in (output.fields or {}).items():
        at: Path = (*place, "fields", name)
        alternatives = (
            [((*at, index), one) for index, one in enumerate(spec)] if isinstance(spec, list) else [(at, spec)]
        )
        paths += [((*at, "path"), one.path) if isinstance(one, JsonField) else (at, one) for at, one in alternatives]
    for path, text in paths:
        try:
            compile_jsonpath(text)
        except OutputError as error:
            yield path, f"{str(error).rstrip('.!')}."


def _states(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    counts = Counter(word for words in recipe.states.values() for word in words)
    seen: dict[str, str] = {}
    for name, words in recipe.states.items():
        for index, word in enumerate(words):
            if counts[word] > 1 and word in seen:
                yield ("states", name, index), f"{word!r} is already listed under {seen[word]}. Keep one."
            seen.setdefault(word, name)
    if not {"succeeded", "finished"} & set(recipe.states) and recipe.policy.absent == "lost":
        yield (
            ("states",),
            (
                "No word says that a job has succeeded. Add succeeded, or finished for words that go with an exit "
                "code. If the tool lists no job that has ended, write policy: {absent: ended}."
            ),
        )


def _prefect_traps(path: Path, data: Any) -> Iterator[tuple[Path, str]]:  # noqa: ANN401
    """What Prefect would read as its own when the recipe is part of a base job template."""
    if isinstance(data, str):
        for found in _PREFECT_PLACEHOLDER_RE.finditer(data):
            name = found[1]
            hint = f"{{{{print {name}}}}} or {{{{json {name}}}}}" if name.startswith(".") else f"${{{name}}}"
            yield path, f"Prefect takes {found[0]} for a placeholder of its own. Write {hint}."
    elif isinstance(data, dict):
        for key, value in data.items():
            if key == "$ref":
                yield (
                    (*path, key),
                    "Prefect takes the key $ref for a reference to a block. Write out what it refers to.",
                )
            yield from _prefect_traps((*path, key), key)
            yield from _prefect_traps((*path, key), value)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _prefect_traps((*path, index), value)
