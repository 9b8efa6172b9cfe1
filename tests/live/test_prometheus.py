"""A worker's figures, its alert rules and its dashboard, in a real Prometheus."""

import json
import re
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

OPERATING = Path(__file__).parents[2] / "recipes" / "operating"
RULES = OPERATING / "alerts.yml"
NOT_HERE = {"generic_worker_flow_runs_total", "generic_worker_command_failures_total"}
"""What Prometheus is not told before it has happened; `test_metrics.py` sees these."""
CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: generic-worker
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.fixture(scope="module")
def prometheus(backends):
    """The folder with the programs of Prometheus."""
    return Path(backends("prometheus")["GENERIC_WORKER_TEST_PROMETHEUS"]).parent


class Prometheus:
    """A running Prometheus that asks a worker every second."""

    def __init__(self, port):
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path, **query):
        with urllib.request.urlopen(f"{self._url}/{path}?{urllib.parse.urlencode(query)}", timeout=60) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def is_up(self):
        return self.get("query", query="1")

    def value(self, expression):
        """The value of an expression that has one, in this moment; None while it has none."""
        result = self.get("query", query=expression)["result"]
        return float(result[0]["value"][1]) if result else None


@pytest.fixture
def watched(prometheus, tmp_path, make_pool, start_worker, free_port, request, until):
    """A pool of processes, its worker, and a Prometheus that asks that."""
    pool, port, own = make_pool(request.function.__name__), free_port(), free_port()
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(rules=RULES, port=port))
    command = [
        prometheus / "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
    ]
    enabled = {"PREFECT_CLIENT_METRICS_ENABLED": "true", "PREFECT_CLIENT_METRICS_PORT": str(port)}
    with start_worker(pool.name, env=enabled), (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            figures = Prometheus(own)
            until(figures.is_up, 120)
            yield pool, figures
        finally:
            process.terminate()
            process.wait(60)


def test_the_rules_are_ones(prometheus):
    checked = subprocess.run([prometheus / "promtool", "check", "rules", RULES], check=False, capture_output=True)

    assert checked.returncode == 0, checked.stderr.decode()


def test_what_prometheus_is_told_is_what_has_happened(watched, until):
    pool, figures = watched
    crashed = [pool.run(command="sh -c 'exit 3'") for _ in range(2)]
    running = pool.run(command="sleep 600")
    for run in crashed:
        assert pool.ended(run).name == "Crashed"

    def told(expression, expected):
        until(lambda: figures.value(expression) == expected, 60)

    told('sum(generic_worker_jobs{recipe="process",state="running"})', 1)
    told('sum(generic_worker_submissions_total{recipe="process",outcome="submitted"})', 3)
    told('sum(generic_worker_report_seconds_count{recipe="process"})', 2)
    told('sum(generic_worker_command_seconds_count{recipe="process",operation="submit"})', 3)
    told("max(generic_worker_infrastructure_last_answer_seconds) < bool 60", 1)
    pool.cancel(running)
    assert pool.ended(running, 120).name == "Cancelled"
    told("sum(generic_worker_jobs) or vector(0)", 0)


def expressions():
    rules = yaml.safe_load(RULES.read_text())["groups"]
    yield from (rule["expr"] for group in rules for rule in group["rules"])
    panels = json.loads((OPERATING / "dashboard.json").read_text())["panels"]
    yield from (target["expr"] for panel in panels for target in panel["targets"])


def test_every_expression_of_the_rules_and_the_dashboard_names_figures_that_there_are(watched, until):
    pool, figures = watched
    running, failed = pool.run(command="sleep 600"), pool.run(command="no-such-program")
    pool.ended(failed)

    def names():
        return {name for name in figures.get("label/__name__/values") if name.startswith("generic_worker_")}

    for expression in expressions():
        figures.get("query", query=expression)  # it is one
        used = set(re.findall(r"generic_worker_\w+", expression))
        assert used or "up{" in expression
        # asked again: Prometheus asks the worker once a second, and a run is Crashed before its report is counted
        until(lambda used=used: used - NOT_HERE <= names(), 60)
    pool.cancel(running)
    pool.ended(running, 120)
