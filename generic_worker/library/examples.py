"""What a recipe makes of one command's output, and whether its own examples hold. Pure: it runs nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from generic_worker.answers.conclusions import StatusAnswer, asks_for_one, explain_answer, status_answer
from generic_worker.answers.news import changed
from generic_worker.answers.records import Printed, read
from generic_worker.answers.submissions import find_answer, submit_answer
from generic_worker.errors import OutputError
from generic_worker.job import UNKNOWN, JobState, JobStatus
from generic_worker.language.operations import Explain, Find, Operation, Status, Submit, Watch
from generic_worker.language.patterns import SlowPatternError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from generic_worker.answers.records import Record
    from generic_worker.errors import Problem
    from generic_worker.language.recipe import Example, Recipe
    from generic_worker.library.loading import Loaded

_ORDER = ("check", "submit", "find", "status", "watch", "explain", "cancel", "logs", "cleanup")
_STATES = [state.value for state in JobState]
_THE_JOB = "the job"
"""How a job is called whose id neither the output nor anybody else tells."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a find command's output says.

    Attributes:
        records: The jobs in it.
        trouble: Why there may be others; empty if there are none.
    """

    records: list[Record] = field(default_factory=list)
    trouble: str = ""


def named_operations(recipe: Recipe) -> dict[str, Operation]:
    """Every command of a recipe, in the order of a job's life, by its name: `submit`, or `status[1]` in a list."""
    found = {
        "".join(part if isinstance(part, str) else f"[{part}]" for part in path): one
        for path, one in recipe.operations()
    }
    return dict(sorted(found.items(), key=lambda item: _ORDER.index(item[0].partition("[")[0])))


def readable(recipe: Recipe) -> dict[str, Operation]:
    """The commands whose output is read, by name."""
    kinds = Submit | Find | Status | Explain | Watch
    return {name: one for name, one in named_operations(recipe).items() if isinstance(one, kinds)}


def operation_named(operations: Mapping[str, Operation], name: str) -> Operation | None:
    """The command of a name: `status` is the first of a list, and `status[0]` the only one."""
    spellings = (name, f"{name}[0]", name.removesuffix("[0]"))
    return next((operations[one] for one in spellings if one in operations), None)


def printed(recipe: Recipe, stdout: str, stderr: str, exit_code: int) -> Printed:
    """What a command printed, as if a worker had run it."""
    unreachable = recipe.via is not None and exit_code in recipe.via.unreachable
    return Printed(stdout, stderr, exit_code, unreachable=unreachable)


def read_status(recipe: Recipe, command: Status, output: Printed, jobs: Sequence[str] | None = None) -> StatusAnswer:
    """What a status command says of the jobs that it was asked about, or else of those that its output names.

    Every one of them has a status in the answer, and be it unknown.
    """
    name = "id" if "id" in command.output.field_names else "key"
    if jobs is None:
        named = dict.fromkeys(record[name] for record in _records(command, output) if record.get(name))
        jobs = list(named) or ([_THE_JOB] if asks_for_one(command) else [])
    answer = status_answer(recipe, command, {job: job if name == "key" else "" for job in jobs}, output)
    answer.statuses = {job: answer.statuses.get(job, UNKNOWN) for job in jobs}
    return answer


def read_submit(command: Submit, output: Printed, key: str = _THE_JOB) -> Record | str:
    """What a submit command says of the job of a key: its record, else `refused`, `transient` or `ambiguous`."""
    answer = submit_answer(command, output, key)
    return answer.fields if answer.outcome == "submitted" else answer.outcome


def read_find(command: Find, output: Printed, key: str = _THE_JOB) -> Found:
    """The jobs that a find command's output names; one that looks for one key is taken to have found that."""
    records = _records(command, output)
    keys = list(dict.fromkeys(record["key"] for record in records if record.get("key") and record.get("id", key))) or [
        key
    ]
    found, trouble = find_answer(command, keys, output)
    return Found(list(found.values()), trouble)


def read_explain(command: Explain, output: Printed) -> dict[str, Any]:
    """The fields that an explain command's output yields."""
    status = explain_answer(command, JobStatus(JobState.FAILED), output)
    fields = {"exit_code": status.exit_code, "signal": status.signal, "reason": status.reason or None}
    return {name: value for name, value in fields.items() if value is not None}


def read_watch(command: Watch, output: Printed) -> list[str] | None:
    """The ids and keys of the jobs that may have changed by what a watch command printed; None when it may be any."""
    names = changed(
        command.output, output.stderr if command.output and command.output.from_ == "stderr" else output.stdout
    )
    return None if names is None else sorted(names)


def _records(command: Status | Find, output: Printed) -> list[Record]:
    try:
        return read(command.output, output.stdout, output.stderr).records
    except (OutputError, SlowPatternError):
        return []


def problems(loaded: Loaded) -> list[Problem]:
    """The examples of a recipe that do not hold, each at its place."""
    examples = enumerate(loaded.recipe.examples)
    return [
        loaded.source.problem(("examples", number, *path), message)
        for number, example in examples
        for path, message in _differences(loaded.recipe, example)
    ]


_Difference = tuple[tuple[str, ...], str]


def _differences(recipe: Recipe, example: Example) -> Iterator[_Difference]:
    operations = readable(recipe)
    command = operation_named(operations, example.of)
    output = printed(recipe, example.stdout, example.stderr, example.exit)
    key = str(example.expect.get("id", _THE_JOB)) if isinstance(example.expect, dict) else _THE_JOB
    if isinstance(command, Status):
        yield from _status_differences(recipe, command, example.expect, output)
    elif isinstance(command, Submit):
        yield from _difference(example.expect, read_submit(command, output, key))
    elif isinstance(command, Find):
        yield from _difference(example.expect, _found(read_find(command, output, key), example.expect))
    elif isinstance(command, Watch):
        expect = sorted(map(str, example.expect)) if isinstance(example.expect, list) else example.expect
        yield from _difference(expect, read_watch(command, output))
    elif isinstance(command, Explain):
        yield from _difference(example.expect, read_explain(command, output) or None)
    else:
        yield ("of",), f"{example.of!r} is no command whose output this recipe reads. Write {', '.join(operations)}."


def _status_differences(recipe: Recipe, command: Status, expect: object, output: Printed) -> Iterator[_Difference]:
    if not isinstance(expect, dict) or not expect:
        yield ("expect",), f"expected job ids with their states, such as {{'4711': running}}, found {_shown(expect)}."
        return
    answer = read_status(recipe, command, output, list(expect))
    for job_id, state in expect.items():
        status = answer.statuses.get(job_id, UNKNOWN)
        if state not in _STATES:
            yield ("expect", job_id), f"{_shown(state)} is no state. Write {', '.join(_STATES[:-1])} or {_STATES[-1]}."
        elif status.state.value != state:
            yield (
                ("expect", job_id),
                f"expected {state}, the recipe reads {status.state.value}{_because(status, answer)}.",
            )


def _because(status: JobStatus, answer: StatusAnswer) -> str:
    if status.word:
        return f" from the word {status.word!r}"
    return f": {answer.trouble}" if answer.trouble and status.state is JobState.UNKNOWN else ""


def _found(found: Found, expect: object) -> Record | str | None:
    """The record that is meant, without its key unless that is expected too."""
    wanted = expect if isinstance(expect, dict) else {}
    meant = [record for record in found.records if record["id"] == str(wanted.get("id"))] or found.records
    if not meant:
        return "unknown" if found.trouble else None
    return {name: value for name, value in meant[0].items() if name != "key" or "key" in wanted}


def _difference(expect: object, actual: object) -> Iterator[_Difference]:
    if _plain(expect) != _plain(actual):
        yield ("expect",), f"expected {_shown(expect)}, the recipe reads {_shown(actual)}."


def _plain(value: object) -> object:
    """A value for comparison: YAML's numbers are the output's text."""
    return {name: str(item) for name, item in value.items() if item is not None} if isinstance(value, dict) else value


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
