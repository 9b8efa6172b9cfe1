"""What stands beside the guide to production: it is what the guide shows, and it is right."""

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import Counter, Histogram

from generic_worker.jobs import metrics

RECIPES = Path(__file__).parents[2] / "recipes"
GUIDE = (RECIPES / "running-in-production.md").read_text()
UNIT = RECIPES / "operating" / "prefect-worker.service"
DOCKERFILE = (RECIPES / "operating" / "Dockerfile").read_text()
GAUGES = {"generic_worker_jobs": ("recipe", "state"), "generic_worker_infrastructure_last_answer_seconds": ("recipe",)}


def figures():
    """The names of all figures, with their labels, as Prometheus gets them."""
    found = dict(GAUGES)
    for one in vars(metrics).values():
        if isinstance(one, Counter | Histogram):
            found[one._name + ("_total" if isinstance(one, Counter) else "")] = one._labelnames
    return found


def test_the_guide_lists_every_figure_with_its_labels():
    rows = re.findall(r"^\| `(generic_worker_\w+)` \| ([^|]+) \|", GUIDE, re.MULTILINE)

    assert {name: tuple(re.findall(r"\w+", labels)) for name, labels in rows} == figures()


def test_rules_and_dashboard_ask_for_figures_that_there_are():
    rules = [
        rule
        for group in yaml.safe_load((RECIPES / "operating/alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    panels = json.loads((RECIPES / "operating/dashboard.json").read_text())["panels"]
    asked = [*(rule["expr"] for rule in rules), *(one["expr"] for panel in panels for one in panel["targets"])]
    names = {
        re.sub(r"_(bucket|count|sum)$", "", name) for one in asked for name in re.findall(r"generic_worker_\w+", one)
    }

    assert names <= set(figures())
    assert all(rule["annotations"]["summary"] for rule in rules)


def test_the_guide_shows_the_unit_as_it_is():
    assert f"```ini\n{UNIT.read_text()}```" in GUIDE


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_takes_the_unit(tmp_path):
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str
    text = UNIT.read_text()
    unit.read_string(text)
    program = unit["Service"]["ExecStart"].split()[0]
    there = tmp_path / UNIT.name
    there.write_text(text.replace(program, "/bin/true"))  # it wants the program to be there
    checked = subprocess.run(["systemd-analyze", "verify", there], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_guide_builds_the_image_as_the_dockerfile_says():
    (build,) = re.findall(r"^docker build .*", GUIDE, re.MULTILINE)

    assert build in DOCKERFILE
