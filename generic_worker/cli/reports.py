"""What the command line answers: data for programs, text for people. It shows no secret, and prints nothing."""

from __future__ import annotations

import io
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from generic_worker.commands.masking import mask
from generic_worker.commands.rendering import host_values, job_values, pasted, render, render_files
from generic_worker.commands.secret_values import secrets
from generic_worker.errors import RecipeError, VariableError
from generic_worker.language.operations import Explain, Find, Status, Submit, Watch
from generic_worker.language.value_types import ABOUT_MANY
from generic_worker.library import examples
from generic_worker.library.loading import load, locate, origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from generic_worker.answers.conclusions import StatusAnswer
    from generic_worker.answers.records import Printed, Record
    from generic_worker.language.operations import Operation
    from generic_worker.language.recipe import Recipe

_FLOW_RUN = "01234567-89ab-cdef-0123-456789abcdef"
_SAMPLE = {
    "job_key": "pf-0123456789abcdef0123456789abcdef-012345",
    "job_name": "sample-run",
    "command": "prefect flow-run execute",
    "flow_run_id": _FLOW_RUN,
    "flow_run_name": "sample-run",
    "flow_name": "sample-flow",
    "deployment_name": "sample-deployment",
    "work_pool_name": "sample-pool",
}
_ENV = {"PREFECT_API_URL": "https://prefect.example/api", "PREFECT__FLOW_RUN_ID": _FLOW_RUN}
_LABELS = {"prefect.io/flow-run-id": _FLOW_RUN}
_SAMPLE_ID = "4711"
_COMMON = {"name": "job_name", "command": "command"}
"""What a deployment may set beside the recipe's variables, `env.NAME` and `labels.NAME`, and where it ends up."""

_MASK = "********"


def listing(paths: Mapping[str, Path], missing: Callable[[Recipe], Sequence[str]]) -> list[dict[str, Any]]:
    """What is to be said of recipes: what they do, what they need, what they were tried with, what is wrong."""
    return [_entry(name, path, missing) for name, path in sorted(paths.items())]


def _entry(name: str, path: Path, missing: Callable[[Recipe], Sequence[str]]) -> dict[str, Any]:
    place = {"name": name, "file": str(path), "origin": origin(path)}
    try:
        recipe = load(str(locate(name))).recipe
    except RecipeError as error:
        return {**place, "problems": [str(problem) for problem in error.problems]}
    absent = missing(recipe)
    return {
        **place,
        "description": recipe.description,
        "requires": {program: program not in absent for program in recipe.requires},
        "elsewhere": recipe.via is not None,
        "verified": recipe.verified,
        "problems": [],
    }


def listing_text(entries: Iterable[Mapping[str, Any]]) -> str:
    """The recipes as text, a paragraph each."""
    return "\n".join(line for entry in entries for line in _entry_lines(entry))


def _entry_lines(entry: Mapping[str, Any]) -> list[str]:
    if entry["problems"]:
        return [f"{entry['name']}: cannot be used: {entry['problems'][0]}"]
    lines = [f"{entry['name']}: {entry['description']}"]
    if entry["origin"] != "bundled":
        lines.append(f"    from {entry['origin']}")
    needs = ", ".join(f"{name}{'' if there else ' (not installed)'}" for name, there in entry["requires"].items())
    if needs:
        lines.append(f"    needs {needs}{', where its commands run' if entry['elsewhere'] else ''}")
    verified = ", ".join(f"{name} {what}" for name, what in entry["verified"].items())
    return [*lines, f"    verified {verified}"] if verified else lines


def given_values(
    recipe: Recipe, assignments: Iterable[str], option: str = "--set"
) -> tuple[dict[str, Any], dict[str, str]]:
    """What `name=value` sets: variables, and what else there is, as `rendering` takes it.

    Args:
        recipe: The recipe whose variables they are.
        assignments: What stands on the command line.
        option: The option there.

    Raises:
        VariableError: An assignment cannot be read.
    """
    given: dict[str, Any] = {}
    common: dict[str, str] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise VariableError(f"{option} {assignment}: write name=value.")
        if name in _COMMON or name.startswith(("env.", "labels.", "job_")):
            common[name] = text
        else:
            given[name] = _value(name, recipe.variables.get(name, {}), text, option)
    return given, common


def _value(name: str, schema: Mapping[str, Any], text: str, option: str) -> Any:  # noqa: ANN401
    kinds = schema.get("type", "object" if "block" in schema else "string")
    if "string" in kinds:
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise VariableError(f"{option} {name}: {text!r} is not JSON, and the variable is of type {kinds}.") from None


def rendering(
    recipe: Recipe, given: Mapping[str, Any], common: Mapping[str, str], verbs: Sequence[str]
) -> dict[str, Any]:
    """Exactly what would run for a made-up job: argument vectors, standard input, environment, private files.

    Args:
        recipe: The recipe.
        given: Values of its variables.
        common: What else is set: `name`, `command`, `env.NAME`, `labels.NAME`, `job_id`, `job_<field>`.
        verbs: Names of the operations, as in `named_operations`.

    Raises:
        VariableError: A value does not suit, or would put a secret on a command line. The text holds no secret.
    """
    job = {**_SAMPLE, "env": {**_ENV, **_group("env.", common)}, "labels": {**_LABELS, **_group("labels.", common)}}
    job |= {target: common[name] for name, target in _COMMON.items() if name in common}
    values = job_values(recipe, given, job)
    hidden = masked(values, sorted(secrets(values), key=len, reverse=True))
    submitted = _submitted(recipe, common)
    try:
        for name in verbs:  # with the secrets: whether they would be seen
            _command(recipe, name, values, submitted)
        files = render_files(recipe, hidden)
        return {
            "commands": [_command(recipe, name, hidden, submitted) for name in verbs],
            "files": {name: {"path": values[f"file_{name}"], "content": content} for name, content in files.items()},
        }
    except VariableError as error:
        raise VariableError(mask(str(error), values)) from None


def masked(value: Any, hidden: Sequence[str]) -> Any:  # noqa: ANN401
    """A value in which no secret is left. It is masked before it is rendered: quoted, it would not be found."""
    if isinstance(value, str):
        for secret in hidden:
            value = value.replace(secret, _MASK)
    elif isinstance(value, dict):
        return {name: masked(item, hidden) for name, item in value.items()}
    elif isinstance(value, list):
        return [masked(item, hidden) for item in value]
    return value


def _group(prefix: str, common: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in common.items() if name.startswith(prefix)}


def _submitted(recipe: Recipe, common: Mapping[str, str]) -> dict[str, Any]:
    """What is known of a submitted job: as in the recipe's own example of a submission, if it has one."""
    samples = [one.expect for one in recipe.examples if one.of == "submit" and isinstance(one.expect, dict)]
    fields = {name: str(value) for name, value in (samples[0] if samples else {}).items()}
    captured = recipe.submit.output.field_names - {"id", "key", "name"}
    sample = {"job_id": fields.get("id", _SAMPLE_ID), **{f"job_{name}": fields.get(name) for name in sorted(captured)}}
    return {name: common.get(name, value) for name, value in sample.items()}


def _command(recipe: Recipe, name: str, values: Mapping[str, Any], submitted: Mapping[str, Any]) -> dict[str, Any]:
    operation = examples.named_operations(recipe)[name]
    verb = name.partition("[")[0]
    if verb == "check":
        known = host_values(recipe, {variable: values[variable] for variable in recipe.variables})
    elif verb in {"submit", "find", "watch"}:
        known = dict(values)
    else:
        known = {**values, **submitted}
    if verb in ABOUT_MANY:
        known["job_ids"] = [submitted["job_id"], _next_id(submitted["job_id"])]
    command = render(recipe, operation, known)
    return {
        "operation": name,
        "argv": list(command.argv),
        "stdin": command.stdin,
        "env": dict(command.env),
        "timeout": command.timeout,
    }


def _next_id(job_id: str) -> str:
    """Another id that looks like the first."""
    number = re.search(r"\d+$", job_id)
    return f"{job_id[: number.start()]}{int(number[0]) + 1}" if number else f"{job_id}-2"


def rendering_text(data: Mapping[str, Any]) -> str:
    """What would run, as text: each part under a heading, and each command fit to be pasted into a shell."""
    parts: list[tuple[str, str]] = []
    for name, file in data["files"].items():
        parts.append((f"file {name}: {file['path']}", file["content"]))
    for command in data["commands"]:
        name = command["operation"]
        environment = [f"export {key}={shlex.quote(value)}" for key, value in command["env"].items()]
        if environment:
            parts.append((f"{name}: environment", "\n".join(environment)))
        parts.append((name, pasted(command["argv"])))
        if command["stdin"]:
            parts.append((f"{name}: standard input", command["stdin"]))
    return "\n\n".join(f"# {title}\n{text}".rstrip("\n") for title, text in parts)


def reading(recipe: Recipe, command: Operation, output: Printed, jobs: Sequence[str] | None) -> dict[str, Any]:
    """What the worker would understand of a command's output."""
    if isinstance(command, Status):
        return _status_data(examples.read_status(recipe, command, output, jobs))
    if isinstance(command, Submit):
        said = examples.read_submit(command, output)
        return {"outcome": said, "fields": {}} if isinstance(said, str) else {"outcome": "submitted", "fields": said}
    if isinstance(command, Find):
        found = examples.read_find(command, output)
        return {"found": found.records, "trouble": found.trouble}
    if isinstance(command, Watch):
        return {"changed": examples.read_watch(command, output)}
    return {"fields": examples.read_explain(command, output) if isinstance(command, Explain) else {}}


def _status_data(answer: StatusAnswer) -> dict[str, Any]:
    jobs = [
        {
            "id": job_id,
            "state": status.state.value,
            "word": status.word,
            "exit_code": status.exit_code,
            "signal": status.signal,
            "reason": status.reason,
        }
        for job_id, status in answer.statuses.items()
    ]
    return {"jobs": jobs, "trouble": answer.trouble, "remarks": list(dict.fromkeys(answer.remarks))}


_OUTCOMES = {
    "submitted": "submitted",
    "refused": "refused: there is no job.",
    "transient": "transient: it failed for a passing reason, or did not answer. It is tried again if there is no job.",
    "ambiguous": "ambiguous: there may be a job. It is looked up by its key if the recipe has find.",
}


def reading_text(data: Mapping[str, Any]) -> str:
    """What the worker would understand, as text."""
    if "jobs" in data:
        lines = [_table(data["jobs"])] if data["jobs"] else ["It names no job."]
        if data["trouble"]:
            lines.append(f"The answer is not complete: {data['trouble']}. Jobs that are not in it are unknown.")
        return "\n".join([*lines, *(f"Warning: {remark}" for remark in data["remarks"])])
    if "found" in data:
        trouble = f"The answer is not complete: {data['trouble']}. There may be other jobs."
        lines = [_table(data["found"])] if data["found"] else [] if data["trouble"] else ["There is no such job."]
        return "\n".join([*lines, *([trouble] if data["trouble"] else [])])
    if "changed" in data:
        return f"May have changed: {'any job' if data['changed'] is None else ', '.join(data['changed']) or 'no job'}."
    fields = ", ".join(f"{name} {_printable(value)}" for name, value in data["fields"].items())
    if "outcome" in data:
        return f"{_OUTCOMES[data['outcome']]}: {fields}" if fields else _OUTCOMES[data["outcome"]]
    return fields or "It explains nothing."


def _table(rows: Sequence[Record | Mapping[str, Any]]) -> str:
    """Rows as a table as wide as they need: nothing is cut off."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name.replace("_", " "), no_wrap=True)
    for row in rows:
        table.add_row(*(_printable(row.get(name)) for name in columns))
    text = io.StringIO()
    Console(file=text, width=10_000, markup=False, highlight=False, emoji=False, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _printable(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if text.isprintable() else repr(text)
