"""What a command's result says about a submission: whether there is a job, and what its id is. It runs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from generic_worker.answers.conclusions import records_of
from generic_worker.answers.records import Printed, read
from generic_worker.answers.time_limits import in_time
from generic_worker.errors import OutputError
from generic_worker.job import is_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from generic_worker.answers.records import Record
    from generic_worker.language.operations import Find, Output, Submit


@dataclass(frozen=True, slots=True)
class SubmitAnswer:
    """What a submit command says.

    Attributes:
        outcome: `submitted`; `refused`: nothing was done, and trying again does not help; `transient`: it failed for
            a passing reason, or did not answer; `ambiguous`: it failed otherwise, which proves nothing.
        fields: The record, with `id`, when submitted.
        nothing_done: Whether the command's own words prove that there is no job.
        trouble: Why its answer cannot be read, for people; empty where it can, or where it says so itself.
    """

    outcome: str
    fields: Record = field(default_factory=dict)
    nothing_done: bool = False
    trouble: str = ""


@in_time(lambda why: SubmitAnswer("ambiguous", trouble=why))
def submit_answer(command: Submit, printed: Printed, key: str = "") -> SubmitAnswer:
    """Read a submit command's answer. An exit code proves nothing: many a command fails after its work was done.

    Args:
        command: The command.
        printed: What it printed.
        key: The job's key, which is its id where the recipe says so.
    """
    record = _last(command.output, printed, key) if printed.exit_code == 0 else None
    cut_off = printed.cut or printed.unreachable or printed.killed
    if record is not None and not (cut_off or printed.shows(command.trouble)):
        return SubmitAnswer("submitted", record)
    # what was cut off may have gone on after the words that were printed
    nothing_done = not cut_off and printed.shows(command.refused) is not None
    if cut_off or printed.shows(command.transient) or (printed.exit_code == 0 and not nothing_done):
        return SubmitAnswer("transient", nothing_done=nothing_done)
    return SubmitAnswer("refused" if nothing_done else "ambiguous", nothing_done=nothing_done)


def _last(output: Output, printed: Printed, key: str) -> Record | None:
    """The last record that has an id: what a site's banner prints comes before a program's own answer."""
    try:
        records = read(output, printed.stdout, printed.stderr).records
    except OutputError:
        return None
    if not output.reads:
        records = [{}]
    identified = (_identified(output, record, key) for record in reversed(records))
    return next((record for record in identified if record.get("id")), None)


def _identified(output: Output, record: Record, key: str) -> Record:
    """A record with its id, which may be the job's key."""
    return {**record, "id": key} if output.id_ else record


def _nothing_found(why: str) -> tuple[dict[str, Record], str]:
    return {}, why


@in_time(_nothing_found)
def find_answer(command: Find, keys: Iterable[str], printed: Printed) -> tuple[dict[str, Record], str]:
    """Read a find command's answer.

    Returns:
        The records found, by key; and why the answer is not complete, empty if it is: then no others exist.
    """
    keys = list(keys)
    records, trouble = records_of(command, printed)
    if trouble and len(keys) == 1 and not printed.cut and not printed.unreachable and printed.shows(command.absent):
        trouble = ""
    by_key = "key" in command.output.field_names
    found: dict[str, Record] = {}
    for record in records.records:
        key = record.get("key", "") if by_key else keys[0]
        identified = _identified(command.output, record, key)
        if key in keys and identified.get("id"):
            found[key] = identified
    if by_key and not trouble and any(key in printed.stdout for key in keys if key not in found):
        trouble = "it names a job that cannot be read"
    return found, trouble


def namesakes(command: Find, names: Mapping[str, str], printed: Printed) -> dict[str, str]:
    """The jobs that may be ours although they do not carry our key, where a find command tells their names.

    Some sites clear or rewrite the field that a recipe keeps the key in. A job with our job's name and no key of any
    of our jobs may then be it, so that it is not proven that there is none.

    Args:
        command: The command.
        names: The names of the jobs that were looked for and not found, by their keys.
        printed: What it printed.

    Returns:
        Why a job may exist, by its key.
    """
    if "name" not in command.output.field_names:
        return {}
    records, _ = records_of(command, printed)
    unkeyed = [record for record in records.records if not is_key(record.get("key", ""))]
    ids = {record["name"]: record["id"] for record in unkeyed if record.get("name") and record.get("id")}
    return {
        key: f"job {job_id} has this job's name and no key of ours: the site may clear or rewrite the field for it"
        for key, name in names.items()
        if (job_id := ids.get(name.strip()))
    }
