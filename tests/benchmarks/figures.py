"""One figure, and the table of many."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Figure:
    """One row of the table.

    Attributes:
        what: What was measured.
        ours: The figure.
        beside: The same of what stands beside it, measured in the same run.
        goal: What it is meant to be, in words.
        met: Whether it is; None where there is no goal.
        raw: The numbers that it was made of.
    """

    what: str
    ours: str
    beside: str = ""
    goal: str = ""
    met: bool | None = None
    raw: dict = field(default_factory=dict)


def show(figures: list[Figure]) -> str:
    """The table, as Markdown."""
    verdicts = {None: "", True: "yes", False: "**no**"}
    rows = [("measured", "here", "beside it", "goal", "met")]
    rows += [(one.what, one.ours, one.beside, one.goal, verdicts[one.met]) for one in figures]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- | --- | --- | --- | --- |", *lines[1:]])
