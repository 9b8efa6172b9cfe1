"""The step of a trial that looks at what becomes of a job's environment, by whichever way it reaches the job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from generic_worker.job import JobState, JobStatus

if TYPE_CHECKING:
    from generic_worker.cli.trial.trial import Trial

_PIECE = 'it\'s "one" of\nmany $HOME `id` \\n lines = #; '.ljust(64, ".")
_DOUBLINGS = 6
_VALUES = {
    "TRY_LINES": "first\nsecond\n\n\tfourth",
    "TRY_QUOTES": 'it\'s "quoted" `id` $HOME \\ %s * ; | & < > #!',
    "TRY_UNICODE": "gr\u00fc\u00dfe \u4e16\u754c \U0001f680",
    "TRY_SPACES": "  two before, two after  ",
    "TRY_PLAIN": "plain",
    "TRY_LONG": _PIECE * 2**_DOUBLINGS,
}
"""Recipes may have ways of their own for values that are plain, that are long, and that have line breaks."""
_MISSING, _CHANGED = 20, 30
"""Exit codes by which the job tells what it has seen: the number of the value is added."""


async def environment(trial: Trial, name: str) -> None:
    """Values that are easily lost or changed on their way arrive as they were."""
    watch = await trial.submit(_check(), env=_VALUES)
    status = await trial.ended(watch)
    if status is None or status.state is JobState.ABSENT:
        trial.verdicts.not_tried(name, "the end of its job was not seen")
        return
    status = await trial.driver.explain(watch.job, status)
    said = await trial.driver.logs(watch.job)
    told = re.findall(r"^environment: (\d+)$", said, re.MULTILINE)
    if trial.is_untold(status):  # its output may say it all the same
        if not told:
            trial.verdicts.not_tried(name, "nothing says how its job ended")
            return
        code = int(told[-1])
        status = JobStatus(JobState.FAILED if code else JobState.SUCCEEDED, exit_code=code)
    if status.state is JobState.SUCCEEDED:
        trial.verdicts.holds(name, f"{len(_VALUES)} values arrived as they were, one of them with 4 kB")
        return
    code = status.exit_code or 0
    if not _MISSING <= code < _CHANGED + len(_VALUES) or code % 10 >= len(_VALUES):
        found = f"its job ended as {status}, without a word about the values"
        trial.verdicts.fails(name, found, "submit", (said,))
        return
    which = list(_VALUES)[code % 10]
    lost = f"{which} is not in the job's environment" if code < _CHANGED else f"{which} is changed"
    hint = "a job's environment reaches it through job_script, or env in run, stdin, files or env of submit"
    trial.verdicts.fails(name, f"{lost} (the job ended as {status}); {hint}", "submit")


def _check() -> str:
    """A script whose exit code says which value is missing or changed; the values themselves are in no argument."""
    checks = ['end() { echo "environment: $1"; exit "$1"; }']
    for number, (name, value) in enumerate(_VALUES.items()):
        doublings, piece = (_DOUBLINGS, _PIECE) if name == "TRY_LONG" else (0, value)
        octal = "".join(f"\\{byte:03o}" for byte in f"{piece}x".encode())
        checks.append(f'[ "${{{name}+x}}" ] || end {_MISSING + number}')
        checks.append(f"v=$(printf '{octal}'); v=${{v%x}}" + "; v=$v$v" * doublings)
        checks.append(f'[ "${name}" = "$v" ] || end {_CHANGED + number}')
    return "; ".join([*checks, "end 0"])
