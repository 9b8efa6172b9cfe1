"""The order in which a flow run's states were taken, which attempt it is in, and whether a job is of an earlier one."""

from datetime import timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry, Cancelled, Crashed, Pending, Running, Scheduled, Submitting, Suspended

from generic_worker.worker.flow_runs import job_key
from generic_worker.worker.histories import attempt_of, in_order, is_outdated

KINDS = {
    "Pending": Pending,
    "Running": Running,
    "Suspended": Suspended,
    "Crashed": Crashed,
    "AwaitingRetry": AwaitingRetry,
    "Cancelled": Cancelled,
    "Submitting": Submitting,
}


def by_the_clock(names):
    """States of these names, each a second later than the one before it."""
    states = [KINDS[name]() if name in KINDS else Scheduled(name=name) for name in names.split()]
    for number, state in enumerate(states):
        state.timestamp += timedelta(seconds=number)
    return states


@pytest.mark.parametrize(
    ("names", "now", "taken"),
    [
        ("Scheduled Pending Submitting", 2, "Scheduled Pending Submitting"),
        ("Scheduled Late Pending Submitting", 3, "Scheduled Late Pending Submitting"),
        ("Scheduled Pending Late", 1, "Scheduled Late Pending"),
        ("Scheduled Pending Late", 2, "Scheduled Pending Late"),  # a server that is another one
        ("Scheduled Pending Late Submitting", 3, "Scheduled Late Pending Submitting"),
        ("Scheduled Pending Submitting Late Running", 4, "Scheduled Late Pending Submitting Running"),
        ("Scheduled Pending Late Scheduled Pending Late", 4, "Scheduled Late Pending Scheduled Late Pending"),
        ("Scheduled Cancelled Pending", 1, "Scheduled Pending Cancelled"),
        ("Late Pending", 1, "Late Pending"),
    ],
)
def test_states_are_in_the_order_in_which_the_api_took_them_not_in_that_of_their_timestamps(names, now, taken):
    states = by_the_clock(names)

    assert " ".join(state.name for state in in_order(reversed(states), states[now])) == taken


def test_a_state_that_was_taken_after_the_others_were_read_is_the_last():
    states = by_the_clock("Scheduled Pending Submitting")

    assert in_order(states[:2], states[2]) == states


def test_an_attempt_begins_with_a_pending_state_after_another_and_goes_on_in_those_that_follow():
    states = by_the_clock("Scheduled Pending Submitting Running Scheduled Pending Submitting Running")

    assert attempt_of(in_order(reversed(states))) == states[5].id
    assert attempt_of(states[:3]) == states[1].id
    assert attempt_of(states[:1]) is None


def test_a_run_that_was_marked_late_at_the_same_time_is_in_the_attempt_that_began():
    states = by_the_clock("Scheduled Pending Late Submitting")

    assert attempt_of(in_order(states)) == states[1].id


@pytest.mark.parametrize(
    ("seen", "names", "outdated"),
    [
        (0, "Scheduled Pending Running", False),
        (0, "Scheduled Late Late Pending Running", False),
        (2, "Scheduled Late Late Pending Running", False),
        (1, "Scheduled AwaitingConcurrencySlot Pending Running", False),
        (0, "Scheduled Pending Running AwaitingRetry Running AwaitingRetry Running", False),  # it retries by itself
        (0, "Scheduled Pending Running Suspended Resuming", False),  # nobody has picked it up again
        (0, "Scheduled Pending Running Suspended Resuming Pending", True),
        (0, "Scheduled Pending Running Crashed AwaitingRetry Pending Running", True),
        (0, "Scheduled Pending Scheduled Late Pending", True),  # it was handed back
        (2, "Scheduled Pending Scheduled Late Pending", False),
        (1, "Scheduled Pending Running", False),  # it was submitted by hand
        (1, "Scheduled Pending Running Suspended Resuming Pending", True),
        (None, "Scheduled Pending Scheduled Pending", False),  # its state is not on record
    ],
)
def test_a_job_is_outdated_once_its_run_was_picked_up_again(seen, names, outdated):
    kinds = {
        "Pending": Pending,
        "Running": Running,
        "Suspended": Suspended,
        "Crashed": Crashed,
        "AwaitingRetry": AwaitingRetry,
    }
    states = [kinds[name]() if name in kinds else Scheduled(name=name) for name in names.split()]
    for number, state in enumerate(states):
        state.timestamp += timedelta(seconds=number)
    own = Scheduled() if seen is None else states[seen]
    key = job_key(FlowRun(flow_id=uuid4(), state=own, state_id=own.id))

    assert outdated == is_outdated(key, in_order(reversed(states)))
