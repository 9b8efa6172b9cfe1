"""What is said of the end of a job: in the words of its flow run's state, and as an exit code. Pure, and no Prefect."""

from __future__ import annotations

import re
from signal import Signals
from typing import TYPE_CHECKING

from generic_worker.job import JobState, signal_name

if TYPE_CHECKING:
    from generic_worker.job import Job, JobStatus

_KNOWN_CAUSE_RE = re.compile(r"time|cancel|preempt|deadline|node|memory|oom", re.IGNORECASE)
"""Words of an infrastructure that say themselves why it killed a job."""


def end_message(job: Job, status: JobStatus, ended_because: str = "", *, names_memory: bool = False) -> str:
    """What a flow run's state says about the end of its job: recipe, id, the infrastructure's own words, exit code.

    Args:
        job: The job.
        status: Its last status.
        ended_because: Why we have ended it, if we have.
        names_memory: Whether the infrastructure says it when it kills a job for too much memory.
    """
    name = f"{job.recipe} job {job.id}"
    if ended_because:
        return f"The {name} was ended because {ended_because}; its last state was {status}."
    if status.state is JobState.ABSENT:
        last = f" The last thing known of it: {status}." if status.word else ""
        return f"The {name} has vanished: the infrastructure answers, and does not know it any more.{last}"
    if status.state is JobState.SUCCEEDED:
        return f"The {name} has ended ({status}) and the flow run never reported its own end."
    if status.state is JobState.FINISHED:
        return (
            f"The {name} has ended ({status}), its exit code is not known, and the flow run never reported its own end."
        )
    if status.state is JobState.CANCELLED:
        return f"The {name} was cancelled outside Prefect: {status}."
    return f"The {name} ended as {status}.{_explained(status, names_memory=names_memory)}"


def exit_status(status: JobStatus) -> int:
    """A job's end as an exit code: 0 only if it ended well, whatever the infrastructure calls its exit code."""
    if status.state is JobState.SUCCEEDED:
        return 0
    return status.exit_code or (128 + status.signal if status.signal else 1)


def _explained(status: JobStatus, *, names_memory: bool) -> str:
    if status.exit_code in {126, 127}:
        return " The job's command was not found, or cannot be executed: look at the command and at PATH in the job."
    signal, text = status.signal, ""
    if signal is None and status.exit_code and 128 < status.exit_code < 160:  # noqa: PLR2004 - how shells report signals
        signal = status.exit_code - 128
        text = f" A shell reports {signal_name(signal)} so."
    if signal == Signals.SIGKILL and not names_memory and not _KNOWN_CAUSE_RE.search(f"{status.word} {status.reason}"):
        text += " Often that is the host's answer to too much memory."
    return text
