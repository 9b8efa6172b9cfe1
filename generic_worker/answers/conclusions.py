"""What a command's result says about jobs: a state, proven absent, or unknown. Pure: it runs nothing.

The rules are the same for a live scheduler, for a recipe's examples and for output that somebody pastes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from generic_worker.answers.fields import number_of, reason_of, signal_of, text_of
from generic_worker.answers.records import Printed, Records, read
from generic_worker.answers.time_limits import in_time
from generic_worker.errors import OutputError
from generic_worker.job import ABSENT, JobState, JobStatus
from generic_worker.language.patterns import SlowPatternError, groups, matches, search

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generic_worker.answers.records import Record
    from generic_worker.language.operations import Explain, Find, Operation, Output, Status
    from generic_worker.language.recipe import Recipe, StateName


_REMARKS = 1001
"""Different oddities of one answer that are told: one more than are worth a warning each."""
_WORD_RE = re.compile(r"[\w-]+")


@dataclass(slots=True)
class StatusAnswer:
    """What one status command says about the jobs that it was asked about.

    Attributes:
        statuses: By job id. A job that is missing here is unknown.
        trouble: Why the answer is not complete, for people; empty if it is: then a missing job is absent.
        remarks: Oddities worth one warning each, such as a state word that the recipe does not list.
    """

    statuses: dict[str, JobStatus] = field(default_factory=dict)
    trouble: str = ""
    remarks: list[str] = field(default_factory=list)


@in_time(lambda why: StatusAnswer(trouble=why))
def status_answer(recipe: Recipe, command: Status, jobs: Mapping[str, str], printed: Printed) -> StatusAnswer:
    """Read a status command's answer.

    Args:
        recipe: The recipe, for its states.
        command: Which of its status commands was run.
        jobs: The jobs it was asked about: id to key; an empty key is not compared.
        printed: What it printed.

    Returns:
        A state or proof of absence for each job that the command says something about.
    """
    records, trouble = records_of(command, printed)
    answer = StatusAnswer(trouble=trouble)
    sole = next(iter(jobs)) if len(jobs) == 1 and asks_for_one(command) else ""
    ids = {key: job_id for job_id, key in jobs.items() if key}
    unfinished: list[str] = []
    for record in records.records:
        job_id = _whose(record, jobs, ids) or (sole if not record.get("id") else "")
        if job_id:
            status = _status(recipe, record, job_id, jobs[job_id], answer.remarks)
            if command.history and status.state.alive:  # it has no end of the job, and knows nothing of its life
                unfinished.append(job_id)
            elif _counts(status, answer.statuses.get(job_id)):
                answer.statuses[job_id] = status
    if not answer.trouble and not answer.statuses and not unfinished:
        answer.trouble = _nonsense(recipe, records, sole)
    for job_id in _proven_absent(command.absent, jobs, printed):
        answer.statuses.setdefault(job_id, ABSENT)
    if not answer.trouble:
        unnamed = [job_id for job_id in jobs if job_id not in answer.statuses]
        answer.statuses |= dict.fromkeys(_unmentioned(records.unread, unnamed), ABSENT)
    answer.remarks = list(dict.fromkeys(answer.remarks))[:_REMARKS]
    return answer


def _counts(status: JobStatus, before: JobStatus | None) -> bool:
    """Whether a further record about a job counts. One that has not ended is not ended by another that has."""
    if before is None or before.foreign:
        return True
    return not (status.foreign or (status.state.final and not before.state.final))


def asks_for_one(command: Operation) -> bool:
    """Whether a command is about one job, so that what it prints needs no id."""
    words = set(re.findall(r"\w+", f"{command.run} {command.stdin}"))
    return "job_ids" not in words and not words.isdisjoint({"job_id", "job_key", "job_dir"})


def _whose(record: Record, jobs: Mapping[str, str], ids: Mapping[str, str]) -> str:
    """The id of the job that a record is about: by its id, or its key where ids are written otherwise."""
    job_id = record.get("id", "")
    return job_id if job_id in jobs else ids.get(record.get("key", ""), "")


def _nonsense(recipe: Recipe, records: Records, sole: str) -> str:
    """Why records that name none of the jobs are not a list of jobs at all; empty if they may be one."""
    words = [record["state"] for record in records.records if record.get("state")]
    if sole and words:
        return f"it was asked about job {sole} and answers about {records.records[0].get('id')!r}"
    if not words and any(record.get("id") for record in records.records):
        return "no record in it has a state"
    if words and all(state_of(recipe.states, word) is None for word in words):
        return f"no state in it is one that the recipe lists, such as {words[0]!r}"
    return ""


def _unmentioned(text: str, ids: Sequence[str]) -> list[str]:
    """The ids that do not stand by themselves in a text."""
    wanted = {part for job_id in ids for part in _WORD_RE.findall(job_id)}
    words = {word for found in _WORD_RE.finditer(text) if (word := found[0]) in wanted} if ids else set()
    return [job_id for job_id in ids if not _mentions(text, words, job_id)]


def _mentions(text: str, words: set[str], job_id: str) -> bool:
    parts = _WORD_RE.findall(job_id)
    if parts == [job_id]:
        return job_id in words
    return words.issuperset(parts) and re.search(rf"(?<![\w-]){re.escape(job_id)}(?![\w-])", text) is not None


def _proven_absent(pattern: str | None, jobs: Mapping[str, str], printed: Printed) -> list[str]:
    """The jobs that the command's own words call unknown."""
    if pattern is None or printed.unreachable or printed.cut:
        return []
    text = f"{printed.stdout}\n{printed.stderr}"
    if "id" in groups(pattern):
        return [match["id"] for match in matches(pattern, text) if match["id"] in jobs]
    return list(jobs) if len(jobs) == 1 and search(pattern, text) else []


def _status(recipe: Recipe, record: Record, job_id: str, key: str, remarks: list[str]) -> JobStatus:
    """What one record says about a job."""
    found = record.get("key")
    if found and key and found != key:
        remarks.append(
            f"job {job_id} carries the key {found!r}, not {key!r}: its id was given to another job, or the "
            "site rewrites that field."
        )
        return JobStatus(JobState.UNKNOWN, reason=f"carries the key {found!r}", foreign=True)
    word = record.get("state", "")
    exit_code, signal = number_of(record.get("exit_code")), signal_of(record.get("signal"))
    name, state = state_of(recipe.states, word), JobState.UNKNOWN
    if name is None:
        remarks.append(f"the state {word!r} is not listed in the recipe's states; it is taken as unknown until it is.")
    elif name == "finished":
        state = _how_it_finished(exit_code, signal)
    elif name != "elsewhere":
        state = JobState(name)
    ours = bool(key) and key in {found, record.get("id")}
    return _plausible(JobStatus(state, word, reason_of(record), exit_code, signal, ours=ours))


def _how_it_finished(exit_code: int | None, signal: int | None) -> JobState:
    """The end of a job of which only its exit code tells how it ended. Without one it has ended all the same."""
    if exit_code is None and signal is None:
        return JobState.FINISHED
    return JobState.FAILED if exit_code or signal else JobState.SUCCEEDED


def _plausible(status: JobStatus) -> JobStatus:
    """A status without the exit code 0 of a job that its scheduler ended (Slurm: `TIMEOUT`, `0:0`)."""
    ended_badly = status.state in {JobState.FAILED, JobState.CANCELLED}
    return replace(status, exit_code=None) if ended_badly and status.exit_code == 0 else status


def state_of(states: Mapping[StateName, Sequence[str]], word: str) -> StateName | None:
    """Our name for one of the infrastructure's words: exact words first, then patterns in their order."""
    exact = next((name for name, words in states.items() if word in words), None)
    return exact or next((n for n, words in states.items() if any(fnmatchcase(word, w) for w in words)), None)


def records_of(command: Status | Find, printed: Printed) -> tuple[Records, str]:
    """The records of an answer, and why it is not complete if it is not."""
    if printed.unreachable:
        return Records([]), "the far side cannot be reached"
    says_empty = not printed.killed and printed.shows(command.empty)  # in words that may look like a job's line
    records, trouble = _readable(command.output, printed.without(command.empty) if says_empty else printed)
    if printed.cut:
        return Records(records.records[:-1]), "it did not end by itself, or printed too much"
    match = printed.shows(command.trouble)
    if says_empty and not (match or records.records):
        return Records([], unread=printed.stdout), ""
    if printed.exit_code != 0:
        trouble = f"exit code {printed.exit_code}"
    elif match:
        trouble = text_of(match[0])
    return records if trouble or command.output.reads else Records([{}]), trouble


def _readable(output: Output, printed: Printed) -> tuple[Records, str]:
    """What can be read of an output, and why that is not all of it if it is not."""
    try:
        records = read(output, printed.stdout, printed.stderr)
    except OutputError as error:
        return Records([]), str(error)
    return records, "" if records.complete else "some lines of the output cannot be read"


def explain_answer(command: Explain, status: JobStatus, printed: Printed) -> JobStatus:
    """Complete a status with what explain says of its job. The state stays what it was, as in `explained`."""
    records = explain_records(command, printed)
    return explained(status, records[-1]) if records else status


def explain_records(command: Explain, printed: Printed) -> Sequence[Record]:
    """What an explain command says; nothing if it failed."""
    try:
        records = read(command.output, printed.stdout, printed.stderr).records
    except (OutputError, SlowPatternError):
        records = []
    return records if printed.exit_code == 0 else []


def explained(status: JobStatus, record: Record) -> JobStatus:
    """Complete a status with a record. The state stays what it was, unless nobody said how the job ended."""
    exit_code, signal = number_of(record.get("exit_code")), signal_of(record.get("signal"))
    exit_code = status.exit_code if exit_code is None else exit_code
    signal = status.signal if signal is None else signal
    state = _how_it_finished(exit_code, signal) if status.state is JobState.FINISHED else status.state
    reason = reason_of(record) or status.reason
    return _plausible(replace(status, state=state, exit_code=exit_code, signal=signal, reason=reason))


@in_time(lambda _: False)
def gone(pattern: str | None, printed: Printed) -> bool:
    """Whether a failed command's own words say that there is no such job."""
    return bool(printed.exit_code and not printed.unreachable and not printed.cut and printed.shows(pattern))
