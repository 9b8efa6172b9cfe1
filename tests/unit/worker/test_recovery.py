from types import SimpleNamespace

import pytest

from generic_worker.worker.recovery import is_abandoned


@pytest.mark.parametrize(
    ("owner", "online", "abandoned"),
    [
        ("me", {"me"}, True),  # an earlier process of this name: this one does not have the run
        ("me", {"me", "other"}, True),
        ("other", {"me", "other"}, False),
        ("other", {"me"}, True),
        (None, {"me"}, True),
        (None, {"me", "other"}, False),
        (None, set(), True),
    ],
)
def test_a_run_is_abandoned_when_nobody_else_can_have_it(owner, online, abandoned):
    labels = {"prefect.worker.name": owner} if owner else {}

    assert abandoned == is_abandoned(SimpleNamespace(labels=labels), "me", online)
