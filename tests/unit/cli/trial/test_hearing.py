import pytest

from generic_worker.cli.trial.hearing import Heard, Line

SILENT = "no line told of it. While watch stays, jobs are asked about every `policy.poll` seconds only"


def heard(*times, named=True, running=1.2, known=13.4, readable=True):
    """Of a job that ran from second 1 to second 13: it was seen running and known to have ended."""
    return Heard([Line(at, named) for at in times], running, 13.0, known, 1.1, readable=readable)


@pytest.mark.parametrize(
    ("found", "praise"),
    [
        (heard(13.2), "it was known 0.2 s after its line"),
        (heard(1.1, 1.3, 1.6, 13.2), "it was known 0.2 s after its line"),
        (heard(1.1, 13.1, 13.3, 13.9), "it was known 0.1 s after its line"),
        (heard(5.0, 9.0, 13.3), "it was known 0.1 s after its line"),
        (heard(14.3), "it was known when its line came"),
        (heard(13.2, named=False, readable=False), "it was known 0.2 s after its line"),
        (heard(2, 3, 4, 5, 13.3, running=None), "it was known 0.1 s after its line"),
    ],
)
def test_a_line_that_tells_of_the_end_is_praised_with_what_was_measured(found, praise):
    assert (found.problem(), found.praise()) == ("", praise)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (heard(), SILENT),
        (heard(1.1, 12.9), SILENT),
        (heard(15.0), "its line came 1.6 s after its end was known without it"),
        (heard(13.1, known=16.1), "its end was known 3.0 s after the line before it: status is later than the line"),
        (
            heard(13.2, named=False),
            "output cannot read the line that told of it: so it is taken for one about any job",
        ),
        (
            heard(3, 6, 9, 13.2),
            "something came 3 times in 11.8 s that may be about a job of which nothing had changed: "
            "each time states are asked for",
        ),
    ],
)
def test_what_is_wrong_with_a_watch_is_said_with_what_was_measured(found, problem):
    assert found.problem() == problem
