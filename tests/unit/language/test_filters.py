"""The filters of expressions, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from generic_worker.errors import VariableError
from generic_worker.language.filters import FILTERS
from generic_worker.language.structures import render_structure

LONG = 15_000 * "x"


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ("x | pairs", {"team": "x", "cost": "y=1"}, ["team=x", "cost=y=1"]),
        ("x | pairs(': ')", {"team": "x"}, ["team: x"]),
        ("x | words", "a 'b c'", ["a", "b c"]),
        ("x | json", {"a": [1, None]}, '{"a": [1, null]}'),
        ("x | tojson", "<&>", '"<&>"'),  # Jinja's own writes them as \u003c, for web pages
        ("x | entries", {"A": "1", "B": "2"}, [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]),
        ("x | entries", ["a", "b"], [{"name": "a"}, {"name": "b"}]),
        ("x | entries(escape='$')", {"A": "$(B) $"}, [{"name": "A", "value": "$$(B) $$"}]),
        ("x | entries(called='secureValue')", {"A": "1"}, [{"name": "A", "secureValue": "1"}]),
        ("x | env_file", {"A": "1 2", "B": ""}, "A=1 2\nB=\n"),
        ("x | env_file", {"A": "1\n2", "B": LONG}, f"B={LONG}\nGENERIC_WORKER_ENV_1=.A=1\\00122\n"),
        ("x | env_decoder", {"A": "1 2"}, []),
        ("x | together({'b': '2', 'a': '3'})", {"a": "1"}, {"a": "3", "b": "2"}),
        ("x | slug", "Nightly load: Été #3", "nightly-load-t-3"),
        ("x | slug(8)", "12 Monkeys again", "monkeys"),
        ("x | slug", "123", ""),
        (
            "x | k8s_labels",
            {"prefect.io/flow-run-name": "a b/c", "team": "x"},
            {"prefect.io/flow-run-name": "a-b-c", "team": "x"},
        ),
        (
            "x | k8s_labels",
            {"-odd key-": "-x-", "UPPER.Case/Key": 80 * "v", "é": "x", "a/b/c": "", "n": 1},
            {"odd-key": "x", "upper.case/Key": 63 * "v", "a-b/c": "", "n": "1"},
        ),
    ],
)
def test_a_filter_makes_of_a_value_what_programs_read(expression: str, value: Any, expected: Any) -> None:
    found = render_structure(f"${{{expression}}}", {"x": value})

    assert found == expected


def test_text_that_is_no_command_line_is_refused_without_being_shown() -> None:
    with pytest.raises(VariableError) as caught:
        FILTERS["words"]("it's a secret")

    assert str(caught.value) == "the text cannot be split into words: No closing quotation."
