"""What becomes of a job that Prefect wants ended and that this worker does not watch."""

import logging
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.states import Cancelling

from generic_worker.job import JobState
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.watcher import Watcher
from generic_worker.worker.configuration import GenericWorkerJobConfiguration
from generic_worker.worker.unwatched_jobs import end_unwatched_job

RUN = UUID(int=7)  # the same in every process, or two of them would not have the same tests
KEY, OTHER = f"pf-{RUN.hex}-a", f"pf-{UUID(int=8).hex}-b"
LOG = logging.getLogger("test.strangers")
LISTING = {"run": 'cd "$place"; cat list', "output": {"columns": ["id", "state", "key"], "separator": "|"}}
RECIPE = {
    "recipe": 1,
    "name": "listing",
    "scope": "${site}",
    "variables": {"place": {"type": "string"}, "site": {"type": "string", "default": "here"}},
    "submit": {"run": ["false"], "output": {"regex": "(?P<id>.+)"}},
    "find": LISTING,
    "status": LISTING,
    "cancel": {"run": 'cd "$place"; echo "$job_id" >>cancelled; sed -i "s/^$job_id|R/$job_id|CA/" list'},
    "states": {"pending": ["PD"], "running": ["R"], "succeeded": ["CD"], "cancelled": ["CA"]},
    "policy": {"poll": 1, "lost_polls": 2, "lost_after": 1, "visible_after": 0, "grace": 3},
}


@pytest.fixture
def end(tmp_path, simulated, timeless):
    """End the job of a pid while the scheduler lists these lines, or does not answer when there are none."""

    def work(pid, *lines):
        if lines:
            (tmp_path / "list").write_text("".join(f"{line}\n" for line in lines))
        configuration = GenericWorkerJobConfiguration(recipe=RECIPE, variables={"place": str(tmp_path)})
        configuration.prepare_for_flow_run(FlowRun(id=RUN, flow_id=uuid4(), name="hare", state=Cancelling()))
        driver = Driver(configuration.loaded_recipe, timeless)

        async def ended():
            async with Watcher(LOG) as watcher:
                return await end_unwatched_job(pid, configuration, driver, watcher, LOG)

        return simulated(ended())

    return work


@pytest.fixture
def cancelled(tmp_path):
    """The ids of the jobs that a cancel command was run for."""
    return lambda: (tmp_path / "cancelled").read_text().split() if (tmp_path / "cancelled").exists() else []


@pytest.mark.parametrize("pid", [f"listing://here/7?key={KEY}", f"listing://here/?key={KEY}"])
def test_a_job_that_is_there_is_ended_whether_its_id_is_known_or_only_its_key(end, cancelled, pid):
    status = end(pid, f"6|R|{OTHER}", f"7|R|{KEY}")

    assert status.state is JobState.CANCELLED
    assert cancelled() == ["7"]


@pytest.mark.parametrize(
    ("pid", "lines"),
    [
        (f"listing://here/7?key={KEY}", [f"7|CD|{KEY}"]),
        (f"listing://here/7?key={KEY}", [f"6|R|{OTHER}"]),
        (f"listing://here/?key={KEY}", [f"6|R|{OTHER}"]),
    ],
    ids=["it has ended", "it is absent", "no job has its key"],
)
def test_a_job_is_called_not_found_only_on_proof(end, cancelled, pid, lines):
    with pytest.raises(InfrastructureNotFound):
        end(pid, *lines)

    assert cancelled() == []


@pytest.mark.parametrize(
    ("pid", "lines", "message"),
    [
        (f"listing://here/7?key={KEY}", [], "the infrastructure does not say whether the job is there"),
        (f"listing://here/?key={KEY}", [], "the job cannot be looked up"),
        (f"listing://here/7?key={KEY}", [f"7|R|{OTHER}"], "the infrastructure does not say whether the job is there"),
        (f"listing://there/7?key={KEY}", [f"7|R|{KEY}"], "lives at 'there', and this worker is at 'here'"),
        (f"docker://here/7?key={KEY}", [f"7|R|{KEY}"], "is not a job of this pool's recipe 'listing'"),
        ("4711", [f"7|R|{KEY}"], "is not a job of this pool's recipe 'listing'"),
        (f"listing://here/7?key={OTHER}", [f"7|R|{OTHER}"], "is not one that was written for this flow run"),
        (f"listing://here/-7?key={KEY}", [f"-7|R|{KEY}"], "is not one that was written for this flow run"),
        (f"listing://here/7%0A8?key={KEY}", [f"7|R|{KEY}"], "is not one that was written for this flow run"),
        (f"listing://here/7?key={KEY}&cluster=x", [f"7|R|{KEY}"], "is not one that was written for this flow run"),
    ],
    ids=[
        "no answer",
        "no answer to find",
        "its id is another job's",
        "elsewhere",
        "another recipe",
        "no pid of ours",
        "another run's key",
        "an id like an option",
        "an id of two lines",
        "a field that submit does not yield",
    ],
)
def test_what_cannot_be_known_or_is_not_ours_is_not_available_and_nothing_is_cancelled(
    end, cancelled, pid, lines, message
):
    with pytest.raises(InfrastructureNotAvailable, match=message):
        end(pid, *lines)

    assert cancelled() == []
