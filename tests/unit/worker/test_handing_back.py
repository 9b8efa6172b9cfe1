"""What is taken for the end of a job that is not to start. What becomes of its run is in tests/system."""

import asyncio
from types import SimpleNamespace

import pytest

from generic_worker.job import JobState, JobStatus
from generic_worker.worker.handing_back import is_gone


class Driver:
    """A driver whose recipe has a find, which shows the job, does not, or says nothing; or has none."""

    def __init__(self, finds):
        self.recipe = SimpleNamespace(find=finds)

    async def find(self, jobs):
        return (set(jobs), {}) if self.recipe.find == "it" else (set(), dict.fromkeys(jobs, "down"))


class DriverOfNothing(Driver):
    """One whose find proves that there is no such job."""

    async def find(self, _):
        return set(), {}


@pytest.mark.parametrize(
    ("state", "driver", "gone"),
    [
        (JobState.CANCELLED, Driver("it"), True),
        (JobState.FAILED, Driver("it"), True),
        (JobState.SUCCEEDED, DriverOfNothing("nothing"), False),
        (JobState.ABSENT, DriverOfNothing("nothing"), True),
        (JobState.ABSENT, Driver("it"), False),
        (JobState.ABSENT, Driver("no answer"), False),
        (JobState.ABSENT, Driver(None), True),
        (JobState.UNKNOWN, DriverOfNothing("nothing"), False),
        (JobState.PENDING, DriverOfNothing("nothing"), False),
    ],
)
def test_a_job_is_gone_when_its_end_was_seen_or_nothing_shows_it_not_even_by_its_key(state, driver, gone):
    assert asyncio.run(is_gone(driver, "job", JobStatus(state))) is gone
