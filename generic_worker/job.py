"""The nouns: a job, its state, and what a status query may answer about it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import Enum
from signal import Signals
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID


class JobState(Enum):
    """What a status query may say about a job."""

    PENDING = "pending"
    """The infrastructure has accepted the job and has not started it yet."""
    RUNNING = "running"
    """The job has started and has not ended."""
    SUCCEEDED = "succeeded"
    """The job has ended well. This says nothing of the flow run's own result."""
    FAILED = "failed"
    """The job has ended otherwise, by itself or by the infrastructure's doing."""
    FINISHED = "finished"
    """The job has ended, and nobody says how: its exit code is not known."""
    CANCELLED = "cancelled"
    """Somebody has ended the job on purpose."""
    ABSENT = "absent"
    """Proven: the infrastructure answers, and does not know the job."""
    UNKNOWN = "unknown"
    """Nothing can be said. It never ends, fails or cancels anything."""

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self in _FINAL

    @property
    def alive(self) -> bool:
        """Whether the job is known to exist and has not ended."""
        return self in {JobState.PENDING, JobState.RUNNING}


_FINAL = (JobState.SUCCEEDED, JobState.FAILED, JobState.FINISHED, JobState.CANCELLED)  # a set would hash: slower


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One answer about one job.

    Attributes:
        state: The state, in our words.
        word: The infrastructure's own word for it, for people.
        reason: The infrastructure's explanation, if it gives one; for an unknown state, ours.
        exit_code: The exit code of the job's command, if known.
        signal: The number of the signal that ended the job, if known.
        foreign: Whether the id now belongs to somebody else's job, as far as its key says.
        ours: Whether the answer carried the job's own key.
    """

    state: JobState
    word: str = ""
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    foreign: bool = False
    ours: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        word = self.word if any(map(str.isalpha, self.word)) else ""  # "=" tells nobody anything
        beside = [self.word if not word else "", self.reason if self.reason != self.word else ""]
        text = word or self.state.value
        if any(beside):
            text += f" ({', '.join(filter(None, beside))})"
        if self.signal:
            text += f", signal {signal_name(self.signal)}"
        elif self.exit_code or (self.exit_code == 0 and self.state is JobState.SUCCEEDED):
            text += f", exit code {self.exit_code}"
        return text


_KEY_RE = re.compile(r"pf-[0-9a-z-]{1,60}")
"""What every key of ours looks like. It is a part of paths, and an argument of commands."""

CLEANED = "cleaned"
"""Field of a job's pid that says that its clean-up is done, and is not to be done again."""

UNKNOWN = JobStatus(JobState.UNKNOWN)
ABSENT = JobStatus(JobState.ABSENT)


def signal_name(number: int) -> str:
    """The name of a signal, such as `SIGKILL`, or its number where it has none."""
    try:
        return Signals(number).name
    except ValueError:
        return str(number)


def is_key(text: str) -> bool:
    """Whether a text looks like the key of a job of ours."""
    return _KEY_RE.fullmatch(text) is not None


@dataclass(slots=True, eq=False)
class Job:
    """A job on some infrastructure, from just before its submission on.

    Attributes:
        key: Our name for it, known before the infrastructure has given it an id.
        values: The names that the recipe's expressions may use.
        recipe: The recipe's name.
        scope: Where the job lives when ids mean something in one place only, such as a host name.
        id: The infrastructure's name for it; empty until submitted.
        fields: What else the submit command's output yielded.
        born: When it was submitted, or found by its key, by `jobs.clock`. Then its id was its own.
        claimed: Whether only a pid says that this id is the job's: whoever may update a flow run may write that. It is
            only asked about until the infrastructure has shown the job under its own key.
    """

    key: str
    values: Mapping[str, Any]
    recipe: str
    scope: str = ""
    id: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    born: float = -math.inf
    claimed: bool = False

    @property
    def submitted(self) -> dict[str, str]:
        """What expressions may name of it since it was submitted: `job_id`, and `job_<field>` for each field."""
        return {"job_id": self.id, **{f"job_{name}": value for name, value in self.fields.items()}}

    @property
    def pid(self) -> str:
        """The job as one line of text: what Prefect keeps as `infrastructure_pid`.

        For example `kubernetes:///pf-5c6e-0?key=pf-5c6e-0`, or `slurm://ada/4711?key=pf-5c6e-0`.
        """
        query = urlencode({"key": self.key, **self.fields})
        return f"{self.recipe}://{quote(self.scope, safe='')}/{quote(self.id, safe='')}?{query}"


@dataclass(frozen=True, slots=True)
class JobReference:
    """A parsed `Job.pid`.

    Attributes:
        recipe: Name of the recipe that submitted the job.
        scope: Where the job lives; empty when its id means the same everywhere.
        id: The infrastructure's name for it; empty if the worker died while it was being submitted.
        key: Our name for it.
        fields: What else the submit command yielded.
    """

    recipe: str
    scope: str
    id: str
    key: str
    fields: dict[str, str]

    def is_of(self, flow_run_id: UUID) -> bool:
        """Whether its key is that of some job of a flow run. A pid may claim anybody's."""
        return re.fullmatch(rf"pf-{flow_run_id.hex}-[0-9a-f]{{1,6}}", self.key) is not None

    @classmethod
    def parse(cls, pid: str) -> JobReference | None:
        """Read an `infrastructure_pid`; None if it is not one of ours."""
        try:
            parts = urlsplit(pid)
        except ValueError:
            return None
        fields = dict(parse_qsl(parts.query, keep_blank_values=True))
        key = fields.pop("key", "")
        if not (parts.scheme and is_key(key) and parts.path.startswith("/")):
            return None
        return cls(parts.scheme, unquote(parts.netloc), unquote(parts.path[1:]), key, fields)
