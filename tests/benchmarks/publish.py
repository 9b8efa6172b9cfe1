"""Results in, what the project says about speed out: the tables in two READMEs, and the picture of what decides.

Nothing is measured here, so that a table or a picture can be made again, and tests can hold them against the results.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.sax.saxutils import escape

from figures import Figure, show

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
DECISIVE = {
    "watching 5000 jobs: processor time, commands included": "less is better",
    "Slurm, 100 jobs in flight: commands sent to Slurm per minute": "less is better",
    "Slurm, 100 jobs in flight: processor time, commands included": "less is better",
    "Slurm, from the end of a job to the Crashed flow run, both with poll 15 s": "less is better",
    "Slurm, killed with jobs in flight and started again: flow runs that end as their jobs": "all is right",
}
"""The figures in README.md and its picture, and how to read each."""
WIDTH, BAR, LEFT, PANEL, TOP = 760, 300, 16, 84, 52  # pixels
OURS, THEIRS = "#2563eb", "#9ca3af"
PART_RE = "(?<=<!-- {name}, by run.py -->\n\n).*?(?=\n\n<!-- end of {name} -->)"


def documents(results: Path) -> dict[Path, str]:
    """What is to be written where, of the results that `run.py --json` has written.

    Raises:
        ValueError: A figure that decides is not among the results, or was not measured; or a document has no place
            for its table.
    """
    report = json.loads(results.read_text())
    figures = [Figure(**one) for part in report["figures"].values() for one in part]
    decisive = [_figure(figures, what) for what in DECISIVE]
    full = f"{_circumstances(report)}\n\n{show(figures)}"
    return {
        HERE / "README.md": _with(HERE / "README.md", "figures", full),
        CHECKOUT / "README.md": _with(CHECKOUT / "README.md", "figures", _short(decisive)),
        CHECKOUT / ".github" / "images" / "figures.svg": picture(decisive),
    }


def picture(figures: list[Figure]) -> str:
    """An SVG with two bars for each figure, as long as the numbers with which its two texts begin."""
    height = TOP + PANEL * len(figures)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13" fill="#111827">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
        f'<rect x="{LEFT}" y="18" width="12" height="12" rx="2" fill="{OURS}"/>',
        f'<text x="{LEFT + 18}" y="28.5">this worker</text>',
        f'<rect x="{LEFT + 112}" y="18" width="12" height="12" rx="2" fill="{THEIRS}"/>',
        f'<text x="{LEFT + 130}" y="28.5">what it was measured beside, in the same run</text>',
    ]
    for place, figure in enumerate(figures):
        lines += _panel(figure, TOP + PANEL * place)
    return "\n".join([*lines, "</svg>", ""])


def _panel(figure: Figure, top: int) -> list[str]:
    title, hint = escape(figure.what[0].upper() + figure.what[1:]), escape(DECISIVE[figure.what])
    most = max(_number(figure.ours), _number(figure.beside))
    lines = [
        f'<text x="{LEFT}" y="{top + 14}" font-weight="600">{title} '
        f'<tspan font-weight="400" fill="#6b7280">({hint})</tspan></text>'
    ]
    for text, colour, y in ((figure.ours, OURS, top + 24), (figure.beside, THEIRS, top + 46)):
        length = max(2, round(BAR * _number(text) / most)) if most else 2
        lines += [
            f'<rect x="{LEFT}" y="{y}" width="{length}" height="16" rx="2" fill="{colour}"/>',
            f'<text x="{LEFT + length + 8}" y="{y + 12.5}">{escape(text.replace("`", ""))}</text>',
        ]
    return lines


def _number(text: str) -> float:
    """The first number in a text such as `median 0.8 s, 95 % within 1.1 s`."""
    return float(re.findall(r"\d+(?:\.\d+)?", text)[0])


def _figure(figures: list[Figure], what: str) -> Figure:
    for figure in figures:
        if figure.what == what and figure.beside:
            return figure
    raise ValueError(f"the results have no figure {what!r}: measure all, with the backends that CONTRIBUTING.md names")


def _circumstances(report: dict) -> str:
    return (
        f"Measured on {report['date']} with Python {report['python']}, Prefect {report['prefect']} and sh "
        f"{report['sh']}, on {report['cores']} cores of {report['machine']}."
    )


def _short(figures: list[Figure]) -> str:
    rows = [("measured", "this worker", "beside it"), ("---", "---", "---")]
    rows += [(one.what, one.ours, one.beside) for one in figures]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _with(document: Path, name: str, text: str) -> str:
    """A document with a text in the place that it has for it."""
    written, number = re.subn(PART_RE.format(name=name), lambda _: text, document.read_text(), flags=re.DOTALL)
    if number != 1:
        raise ValueError(f"{document} has no place, or more than one, for its {name}: {PART_RE.format(name=name)}")
    return written
