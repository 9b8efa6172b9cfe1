"""Every bundled recipe reads real output as it should. A capture is found by its place; nothing registers it.

`tests/captures/<recipe>/<verb>/<case>.out` and `.err` hold the bytes that a command printed, `<case>.yaml`
the tool with its version, the command, its exit code, and what must be read:

- status: job id to state word of ours, `absent` or `unknown`; `of` says which of the status commands it was,
  `jobs` the keys of jobs whose keys count;
- submit: the fields, or `refused`, `transient` or `ambiguous`;
- find: key to fields, to null where there is no such job, or to `unknown`;
- watch: the ids or keys of jobs that may have changed, or null for any;
- explain: the fields, or null;
- cancel: `ok`, `absent` or `failed`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from generic_worker.answers.conclusions import explain_answer, gone, state_of, status_answer
from generic_worker.answers.news import changed
from generic_worker.answers.records import Printed, read
from generic_worker.answers.submissions import find_answer, submit_answer
from generic_worker.errors import OutputError
from generic_worker.job import JobState, JobStatus
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from generic_worker.language.operations import Status
    from generic_worker.language.recipe import Recipe

CAPTURES = Path(__file__).parent.parent / "captures"
RECIPES = Path(__file__).parent.parent.parent / "recipes"
CASES = sorted(CAPTURES.glob("*/*/*.yaml"))
VERBS = ("submit", "status", "cancel")


def bundled() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def name_of(case: Path) -> str:
    return "/".join(case.with_suffix("").parts[-3:])


def text(case: Path, suffix: str) -> str:
    path = case.with_suffix(suffix)
    return path.read_bytes().decode(errors="replace") if path.exists() else ""


def details_of(case: Path) -> dict[str, Any]:
    details: dict[str, Any] = yaml.safe_load(case.read_text())
    return details


def printed_of(recipe: Recipe, case: Path) -> Printed:
    code = details_of(case)["exit"]
    unreachable = recipe.via is not None and code in recipe.via.unreachable
    return Printed(text(case, ".out"), text(case, ".err"), code, unreachable=unreachable)


def status_command(recipe: Recipe, details: dict[str, Any]) -> Status:
    number = re.fullmatch(r"status\[(\d+)\]", details.get("of", "status[0]"))

    assert number

    return recipe.statuses[int(number[1])]


def read_status(recipe: Recipe, case: Path) -> dict[str, str]:
    details = details_of(case)
    jobs = {job_id: details.get("jobs", {}).get(job_id, "") for job_id in details["expect"]}
    answer = status_answer(recipe, status_command(recipe, details), jobs, printed_of(recipe, case))
    unknown = JobStatus(JobState.UNKNOWN)
    return {job_id: answer.statuses.get(job_id, unknown).state.value for job_id in jobs}


def read_submit(recipe: Recipe, case: Path) -> object:
    answer = submit_answer(recipe.submit, printed_of(recipe, case))
    return answer.fields if answer.outcome == "submitted" else answer.outcome


def read_find(recipe: Recipe, case: Path) -> object:
    assert recipe.find

    keys = details_of(case)["expect"]
    found, trouble = find_answer(recipe.find, keys, printed_of(recipe, case))
    fields = {key: {name: value for name, value in found[key].items() if name != "key"} for key in found}
    return {key: fields.get(key, "unknown" if trouble else None) for key in keys}


def read_explain(recipe: Recipe, case: Path) -> object:
    assert recipe.explain

    before = JobStatus(JobState.FAILED)
    after = explain_answer(recipe.explain, before, printed_of(recipe, case))
    fields = {name: getattr(after, name) for name in ("exit_code", "signal", "reason") if getattr(after, name)}
    return fields or None


def read_watch(recipe: Recipe, case: Path) -> list[str] | None:
    assert recipe.watch

    names = changed(recipe.watch.output, text(case, ".out"))
    return None if names is None else sorted(names)


def read_cancel(recipe: Recipe, case: Path) -> str:
    printed = printed_of(recipe, case)
    step = details_of(case).get("step", 0)
    if gone(recipe.cancels[step].absent, printed):
        return "absent"
    return "failed" if printed.exit_code else "ok"


READERS = {
    "submit": read_submit,
    "status": read_status,
    "find": read_find,
    "watch": read_watch,
    "explain": read_explain,
    "cancel": read_cancel,
}


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_capture_reads_as_expected(case: Path) -> None:
    details = details_of(case)
    recipe = load(case.parts[-3]).recipe

    assert set(details) <= {"tool", "command", "exit", "expect", "of", "jobs", "step"}
    assert details["tool"]
    assert details["command"]
    assert READERS[case.parts[-2]](recipe, case) == details["expect"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("recipe", bundled())
def test_every_recipe_has_a_capture_of_every_verb(recipe: str, verb: str) -> None:
    folder = CAPTURES / recipe / verb

    assert list(folder.glob("*.yaml")), f"no capture: {folder}"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("recipe", bundled())
def test_every_verb_of_a_recipe_has_a_capture_of_a_refusal_or_failure(recipe: str, verb: str) -> None:
    details = [details_of(case) for case in (CAPTURES / recipe / verb).glob("*.yaml")]

    assert [one for one in details if one["exit"] != 0]


@pytest.mark.parametrize("case", [case for case in CASES if case.parts[-2] == "status"], ids=name_of)
def test_every_state_word_in_a_capture_is_mapped_or_expected_to_be_unknown(case: Path) -> None:
    recipe, details = load(case.parts[-3]).recipe, details_of(case)
    try:
        records = read(status_command(recipe, details).output, text(case, ".out"), text(case, ".err")).records
    except OutputError:
        records = []
    words = {record["state"]: record.get("id") for record in records if record.get("state")}

    for word, job_id in words.items():
        assert state_of(recipe.states, word) or details["expect"].get(job_id) == "unknown", word


def test_no_output_is_without_its_description() -> None:
    outputs = {path.with_suffix(".yaml") for path in CAPTURES.glob("*/*/*") if path.suffix in {".out", ".err"}}

    assert outputs <= set(CASES)
