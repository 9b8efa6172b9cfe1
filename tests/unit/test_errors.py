"""What errors say."""

import pytest

from generic_worker.errors import GenericWorkerError, Problem, RecipeError, SubmitError


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("mine.yaml", 3, 7, "submit.run", "Write a list."), "mine.yaml:3:7: submit.run: Write a list."),
        (Problem("mine.yaml", 1, 1, "", "The recipe is empty."), "mine.yaml:1:1: The recipe is empty."),
        (Problem("the template", 0, 0, "name", "Missing."), "the template: name: Missing."),
        (Problem("x", 0, 0, "a\x1b[2J", "No:\n\t\x07\u202e é."), "x: a\\x1b[2J: No:\n\t\\x07\\u202e é."),
    ],
)
def test_a_problem_says_where_it_is_as_far_as_that_is_known(problem, text):
    assert str(problem) == text


def test_problems_are_told_once_each_in_the_order_of_the_file():
    last, first = Problem("a.yaml", 20, 1, "b", "Last."), Problem("a.yaml", 3, 1, "a", "First.")
    error = RecipeError([last, first, last])

    assert error.problems == (first, last)
    assert str(error) == "a.yaml:3:1: a: First.\na.yaml:20:1: b: Last."


def test_whether_a_job_may_exist_is_said_apart():
    assert not SubmitError("refused").ambiguous
    assert SubmitError("no answer", ambiguous=True).ambiguous
    assert isinstance(SubmitError("refused"), GenericWorkerError)
