"""The names that historians are keyed by: distinct, and in the manual."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.daemon.sparkplug import mapping
from lineside.daemon.sparkplug.edge_node import BD_SEQ, REBIRTH
from lineside.daemon.sparkplug.payload import DataType

MANUAL = Path(__file__).parents[3] / "docs" / "sparkplug.md"


@pytest.fixture
def told(appliance, line):
    """All metrics of the node, and of a station with a result."""
    line.judge(1)
    cameras = {each.camera: each for each in appliance.cameras()}
    return (
        mapping.node(appliance.device(), ("", ""), 1),
        mapping.station(appliance.stations()[0], cameras, line.results[0], "", 1),
    )


def test_names_differ_by_more_than_case(told):
    for metrics in told:
        names = [metric.name.lower() for metric in metrics]
        assert len(names) == len(set(names))


def test_every_metric_is_in_the_manual_with_its_type_and_nothing_else_is(told):
    rows = [line.split("|") for line in MANUAL.read_text().splitlines() if line.startswith("| `")]
    written = {
        (row[1].strip(" `"), row[2].strip()) for row in rows if "/" in row[1] or row[1].strip(" `") == BD_SEQ
    }
    spoken = {(metric.name, metric.datatype.name) for metrics in told for metric in metrics}
    assert written == spoken | {(BD_SEQ, DataType.INT64.name), (REBIRTH, DataType.BOOLEAN.name)}


def test_before_the_first_part_results_are_null(appliance):
    cameras = {each.camera: each for each in appliance.cameras()}
    metrics = mapping.station(appliance.stations()[0], cameras, None, "", 7)
    results = [metric for metric in metrics if metric.name.startswith("Result/")]
    assert len(results) == 13
    assert {(metric.value, metric.at_ms) for metric in results} == {(None, 7)}


def test_free_bytes_are_told_in_steps(appliance):
    free = {each.name: each.value for each in mapping.node(appliance.device(), ("", ""), 1)}
    assert free["Health/DiskFreeBytes"] == 0  # twenty bytes, rounded down
