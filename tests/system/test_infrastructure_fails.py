"""Jobs that never start, or that their infrastructure ends: what becomes of their flow runs, on a real server.

The scheduler here is a directory: a job is a file with its word and reason, which the tests write.
"""

import pytest
from board import board
from prefect.states import Running

RECIPE = board(
    waits="waiting|no node is free",
    cancelled="failed|cancelled",
    columns=["id", "state", "reason"],
    states={"pending": ["waiting"], "running": ["active"], "succeeded": ["done"], "failed": ["lost", "failed"]},
)


class Board:
    """The scheduler, and a pool of it."""

    def __init__(self, place, pool):
        self.place, self.pool = place, pool

    def run(self):
        return self.pool.run(place=str(self.place))

    def jobs(self):
        """All the jobs that there ever were."""
        return {path.name for path in self.place.iterdir()}

    def new_job(self, run, until, old=()):
        """The id of a run's present job, once it is seen to wait."""
        job = until(lambda: next(iter(self.jobs() - set(old)), None), 60)
        until(lambda: f"board job {job} is waiting" in self.pool.logs(run), 60)
        return job

    def says(self, job, word, reason):
        (self.place / job).write_text(f"{word}|{reason}\n")


@pytest.fixture
def make_board(make_pool, start_worker, tmp_path):
    """A board, and a worker for it: make_board(name, policy)."""
    workers = []

    def make(name, **policy):
        pool = make_pool(name, RECIPE | {"policy": RECIPE["policy"] | policy})
        workers.append(start_worker(name, name))
        workers[-1].__enter__()
        return Board(tmp_path, pool)

    yield make
    for worker in workers:
        worker.__exit__(None, None, None)


def test_a_job_that_is_not_started_in_time_is_cancelled_and_its_run_says_what_it_waited_for(make_board):
    board = make_board("patient", pending_for=5)
    run = board.run()
    state = board.pool.ended(run)
    (job,) = board.jobs()

    assert state.name == "Crashed"
    assert state.message == (
        f"The board job {job} was ended because it was not started within 5 s, as policy.pending_for says "
        "(it was waiting (no node is free)); its last state was failed (cancelled)."
    )


def test_a_job_that_the_infrastructure_ends_is_submitted_again_as_often_as_is_wanted(make_board, until):
    board = make_board("again", resubmit={"on": ["lost", "*reclaimed*"], "times": 2})
    run = board.run()
    first = board.new_job(run, until)
    board.says(first, "lost", "node 7 is down")
    second = board.new_job(run, until, [first])
    board.says(second, "failed", "the machine was reclaimed")
    third = board.new_job(run, until, [first, second])
    board.says(third, "lost", "node 8 is down")
    state = board.pool.ended(run)

    assert len({first, second, third}) == 3
    assert state.name == "Crashed"
    assert state.message == f"The board job {third} ended as lost (node 8 is down)."
    assert [(one.name, one.message) for one in board.pool.history(run) if one.name == "Resubmitted"] == [
        ("Resubmitted", f"The board job {first} ended as lost (node 7 is down). It is submitted again (1 of 2)."),
        (
            "Resubmitted",
            f"The board job {second} ended as failed (the machine was reclaimed). It is submitted again (2 of 2).",
        ),
    ]


def test_another_end_or_a_flow_that_has_begun_is_not_submitted_again(make_board, until):
    board = make_board("once", resubmit={"on": ["lost"]})
    run = board.run()
    job = board.new_job(run, until)
    board.says(job, "failed", "exit code 3")

    assert board.pool.ended(run).message == f"The board job {job} ended as failed (exit code 3)."

    begun = board.run()
    other = board.new_job(begun, until, [job])
    board.pool.set_state(begun, Running())
    board.says(other, "lost", "node 7 is down")

    assert board.pool.ended(begun).message == f"The board job {other} ended as lost (node 7 is down)."
    assert board.jobs() == {job, other}


def test_a_flow_that_has_begun_is_submitted_again_where_the_recipe_lets_it_begin_again(make_board, until):
    board = make_board("begun", resubmit={"on": ["lost"], "begun": True})
    run = board.run()
    first = board.new_job(run, until)
    board.pool.set_state(run, Running())
    board.says(first, "lost", "node 7 is down")
    second = board.new_job(run, until, [first])
    board.pool.set_state(run, Running())
    board.says(second, "lost", "node 8 is down")

    assert board.pool.ended(run).message == f"The board job {second} ended as lost (node 8 is down)."
    assert [one.name for one in board.pool.history(run)].count("Resubmitted") == 1
