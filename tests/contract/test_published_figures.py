"""What is said about speed is what was measured: tables and picture are made of tests/benchmarks/figures.json."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

CHECKOUT = Path(__file__).parents[2]
BENCHMARKS = CHECKOUT / "tests" / "benchmarks"
RESULTS = BENCHMARKS / "figures.json"
PICTURE = CHECKOUT / ".github" / "images" / "figures.svg"

pytestmark = pytest.mark.skipif(not PICTURE.parent.is_dir(), reason="no checkout: pictures are not distributed")


@pytest.fixture
def publish(monkeypatch):
    """The module that makes them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import publish  # noqa: PLC0415 - benchmarks are programs, found where they stand

    return publish


def test_every_document_is_what_the_results_make_of_it(publish):
    documents = publish.documents(RESULTS)

    assert {path for path, text in documents.items() if path.read_text() != text} == set()
    assert PICTURE in documents


def test_the_picture_shows_both_sides_of_each_figure_in_readme():
    table = (CHECKOUT / "README.md").read_text().partition("<!-- figures, by run.py -->")[2]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", table.partition("<!-- end of")[0], re.MULTILINE)[2:]
    texts = {"".join(text.itertext()) for text in ET.parse(PICTURE).iter("{http://www.w3.org/2000/svg}text")}

    assert len(rows) == 5
    assert {cell.replace("`", "") for _, *cells in rows for cell in cells} <= texts


def test_a_bar_is_as_long_as_the_number_that_its_text_begins_with(publish):
    (what, *_) = publish.DECISIVE
    root = ET.fromstring(publish.picture([publish.Figure(what, "median 0.5 s", "2.0 s for `a <b>`")]))
    bars = [bar for bar in root.iter("{http://www.w3.org/2000/svg}rect") if bar.get("height") == "16"]

    assert [int(bar.get("width")) for bar in bars] == [publish.BAR / 4, publish.BAR]


def test_results_of_one_part_are_not_published(tmp_path):
    report = json.loads(RESULTS.read_text())
    del report["figures"]["peers"]
    (tmp_path / "part.json").write_text(json.dumps(report))
    words = [sys.executable, BENCHMARKS / "run.py", "--publish", tmp_path / "part.json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{tmp_path}/part.json: the results have no figure 'Slurm, 100 jobs in flight: commands sent to Slurm per "
        "minute': measure all, with the backends that CONTRIBUTING.md names\n"
    )


def test_every_benchmark_finds_what_it_imports():
    code = "import importlib, run; [importlib.import_module(name) for name in (*run.NAMES, 'workers')]"
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
