import io
from datetime import datetime, timedelta, timezone

import pytest
from rich.console import Console

from generic_worker.cli.job_listing import Jobs, Row, _table

ID = "pf-0123456789abcdef0123456789abcdef-012345"


@pytest.mark.parametrize(("width", "job"), [(60, ID[:34]), (80, ID), (100, ID), (160, ID)])
def test_a_table_fits_its_terminal_and_breaks_no_id(width, job):
    row = Row("industrious-hummingbird", "0", "Pending", datetime.now(timezone.utc) - timedelta(hours=3))
    row.job, row.state, row.reason = job, "PENDING", "Resources, and much more that is to be said of it here"
    console = Console(file=io.StringIO(), width=width)

    console.print(_table(Jobs(rows=[row]), width=width))
    lines = console.file.getvalue().splitlines()

    assert max(map(len, lines)) <= width
    assert any(job in line for line in lines)
    assert any("Pending" in line for line in lines)
    assert any("PENDING" in line for line in lines)


@pytest.mark.parametrize("width", [60, 250])
def test_escapes_in_names_are_shown_and_not_obeyed(width):
    evil = "\x1b]0;evil\x07\x1b[2J\x9bname"
    console = Console(file=io.StringIO(), width=width)

    console.print(_table(Jobs([Row(evil, "0", "Running", None, f"1{evil}", evil, evil)]), width=width))
    shown = console.file.getvalue()

    assert r"\x1b]0;evil\x07" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)
