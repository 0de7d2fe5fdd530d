"""The Grafana dashboard and the alert rules: valid expressions over metrics of the consumer."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from functools import partial
from typing import Any

import promql_parser
import pytest
import yaml

from clickstream.consumer.metrics import Metrics
from tests.unit.source_files import ROOT

DASHBOARD = json.loads((ROOT / "dashboards" / "grafana.json").read_text())
ALERTS = ROOT / "dashboards" / "alerts.yaml"
ALERTS_TEST = ROOT / "tests" / "data" / "alerts.test.yaml"
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
# The metrics of consumer.py, each with its labels.
METRICS = {
    "clickstream_records_total": {"partition"},
    "clickstream_rejected_total": {"reason"},
    "clickstream_duplicates_total": set(),
    "clickstream_removed_total": set(),
    "clickstream_late_total": set(),
    "clickstream_transaction_seconds_bucket": {"le"},
    "clickstream_lag_records": {"partition"},
    "clickstream_lag_seconds": {"partition"},
    "clickstream_watermark_lag_seconds": set(),
    "clickstream_open_sessions": set(),
    "clickstream_search_backlog": set(),
}
SUFFIXES = {"counter": "_total", "histogram": "_bucket"}
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
EXPRESSIONS += [rule["expr"] for rule in RULES]


def metrics_of(text: str) -> set[str]:
    """Return the names of the metrics in an expression."""
    return set(re.findall(r"\bclickstream_\w+", text))


def test_the_metrics_that_may_be_used_are_those_of_the_consumer() -> None:
    registry = Metrics(partial(datetime.now, UTC)).registry
    exported = {family.name + SUFFIXES.get(family.type, "") for family in registry.collect()}
    assert METRICS.keys() == exported


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_is_valid_and_uses_metrics_and_labels_of_the_consumer(
    expression: str,
) -> None:
    promql_parser.parse(expression.replace("$__rate_interval", "5m"))
    named = metrics_of(expression)
    assert named
    assert named <= METRICS.keys()
    grouped = {
        label.strip()
        for group in re.findall(r"by \(([^)]+)\)", expression)
        for label in group.split(",")
    }
    assert grouped <= {"job"}.union(*(METRICS[name] for name in named))


def test_the_dashboard_shows_every_metric() -> None:
    assert metrics_of(json.dumps(PANELS)) == METRICS.keys()


def test_every_variable_of_the_dashboard_is_defined() -> None:
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(PANELS)))
    assert used == defined
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)


def test_the_panels_do_not_overlap_and_fit_the_width_of_24() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    cells = [cell for panel in PANELS for cell in cells_of(panel["gridPos"])]
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))


def cells_of(grid: dict[str, int]) -> list[tuple[int, int]]:
    columns = range(grid["x"], grid["x"] + grid["w"])
    return [(x, y) for x in columns for y in range(grid["y"], grid["y"] + grid["h"])]


def test_there_is_an_alert_about_lag_about_rejected_records_and_about_no_progress() -> None:
    assert [rule["alert"] for rule in RULES] == [
        *("ClickstreamLag", "ClickstreamRejected", "ClickstreamNoProgress")
    ]
    assert all(rule["annotations"].keys() == {"summary", "description"} for rule in RULES)


@pytest.mark.parametrize("command", [("check", "rules", ALERTS), ("test", "rules", ALERTS_TEST)])
def test_prometheus_accepts_the_alert_rules_and_raises_them_as_described(
    command: tuple[str, ...],
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool, part of Prometheus, is not installed")
    done = subprocess.run([promtool, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
