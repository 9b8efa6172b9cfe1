"""What several status commands say of some jobs together. Many jobs take time: it can be put together in a thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from generic_worker.commands.masking import masked_status
from generic_worker.job import ABSENT, UNKNOWN, Job, JobState, JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generic_worker.answers.conclusions import StatusAnswer
    from generic_worker.language.operations import Status


@dataclass(slots=True)
class StatusReport:
    """What the status commands say about some jobs.

    Attributes:
        statuses: One for every job that was asked about.
        trouble: Why there is no full answer, for people; empty when every command answered in full.
        remarks: Oddities worth one warning each.
        seconds: How long the commands took, all together.
    """

    statuses: dict[Job, JobStatus] = field(default_factory=dict)
    trouble: str = ""
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0
    _absent: set[Job] = field(default_factory=set)
    _open_questions: set[Job] = field(default_factory=set)

    @property
    def silent(self) -> list[Job]:
        """The jobs of which nothing has been said so far."""
        return [job for job, status in self.statuses.items() if status is UNKNOWN]

    def take(self, command: Status, answers: Sequence[tuple[Sequence[Job], StatusAnswer]]) -> None:
        """Take what one command of the recipe has said, with the jobs that it was asked about each time."""
        for jobs, answer in answers:
            self.remarks += answer.remarks
            self.trouble = self.trouble or ("" if command.optional else answer.trouble)
            for job in jobs:
                status = answer.statuses.get(job.id, UNKNOWN)
                if status.state is JobState.ABSENT:
                    self._absent.add(job)
                elif status is not UNKNOWN:
                    self.statuses[job] = masked_status(status, job.values)
                elif not command.optional:
                    self._open_questions.add(job)

    def conclude(self) -> None:
        """Absent is of what nothing is known when all have been asked, and every one proves it to be."""
        proven = self._absent - self._open_questions
        self.statuses |= {job: ABSENT for job in proven if self.statuses[job] is UNKNOWN}
