"""Which jobs the lines of a watch command are about, however they arrive."""

from __future__ import annotations

import pytest

from generic_worker.answers.news import Lines, changed
from generic_worker.language.operations import Output

COLUMNS = Output(columns=["id", "word"], separator="|")
JSON = Output.model_validate({"json": "$", "fields": {"id": "id", "key": "name"}})
REGEX = Output(regex=r"^job (?P<id>\d+)\b.*$")


@pytest.mark.parametrize(
    ("output", "text", "expected"),
    [
        (COLUMNS, "1|ended\n2|started\n", {"1", "2"}),
        (COLUMNS, "1|ended\nhello\n", None),
        (REGEX, "job 1 ended\njob 17 started\n", {"1", "17"}),
        (REGEX, "job 1 ended\nthe queue was restarted\n", None),
        (JSON, '{"id": "1", "name": "pf-1"}\n{"id": "2"}\n', {"1", "pf-1", "2"}),
        (JSON, '{"id": "1"}\n{"other": "2"}\n', None),
        (JSON, '{"id": "1"}\n{"id": "2', None),
        (JSON, "\x00\xff\ufffd\n", None),
        (None, "anything\n", None),
        (None, "\n", set()),
        (COLUMNS, " \n\n", set()),
    ],
)
def test_a_line_that_cannot_be_read_may_be_about_any_job(output, text, expected):
    assert changed(output, text) == expected


def test_a_line_is_read_when_it_is_whole():
    lines = Lines(COLUMNS)

    assert [lines.take(piece) for piece in (b"1|en", b"ded\n2|", b"started", b"\n", b"")] == [
        frozenset(), {"1"}, frozenset(), {"2"}, frozenset(),
    ]  # fmt: skip


def test_a_line_without_end_is_not_kept_and_may_be_about_any_job():
    lines = Lines(COLUMNS)
    heard = [lines.take(b"x" * 20_000) for _ in range(10)]

    assert heard == [frozenset(), None] * 5
    assert lines.take(b"\n1|ended\n") == {"1"}


def test_after_a_full_piece_more_is_waiting_and_may_be_about_any_job():
    lines = Lines(COLUMNS)

    assert lines.take(b"1|ended\n" * 8192) is None
    assert lines.take(b"1|ended\n") == {"1"}
