"""Trace: what is found, by what; one result's story; files that hold everything and run nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from lineside.dashboard import exports
from lineside.dashboard.app import create_app
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.ingest.arrivals import Arrival
from lineside.dashboard.ingest.ledger import Ledger
from lineside.dashboard.ingest.shifts import DEFAULT, ShiftPlan
from lineside.dashboard.people.rights import Role
from lineside.v1 import results_pb2

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = '=HYPERLINK("http://x")<script>alert(1)</script>'


@pytest.fixture
def app(database: Database, make: ModuleType) -> Flask:
    """A dashboard over results that were stored before."""
    with database.writing() as session:
        device = Device(
            device="edge-07", address="edge-07:1", found_by="configured", site="Nord", line="Line 2",
            outbox={"mes": 3, "mqtt": 0}, last_sequence=120, heard_at=NOON, watch_heard_at=NOON,
        )  # fmt: skip
        session.add(device)
        session.flush()
        row = device.id
    arrivals = []
    for n in range(1, 121):
        bad = n % 10 == 0
        message = make.inspection(
            n, make.NOT_OK if bad else make.OK, label="cracked" if bad else "ok", station=f"st{n % 2}",
            part_id=f"100%_{n:04d}" if n > 100 else f"part-{n:04d}", when=NOON - timedelta(minutes=120 - n),
        )  # fmt: skip
        message.sequence = n
        message.expected["lot"] = f"L{n // 50}"
        message.prev_hash, message.row_hash = f"{n - 1:064x}", f"{n:064x}"
        if n == 77:
            message.findings.append(results_pb2.Finding(ask="code", label="text", text="Lot X12345"))
        arrivals.append(Arrival(row, 1, n, NOON, message))
    Ledger(database, ShiftPlan.read(DEFAULT, UTC), 0.0).store(arrivals)
    made = create_app(DashboardConfig(timezone=UTC), database, now=lambda: NOON)
    made.testing = True
    return made


@pytest.fixture
def client(app: Flask, client_of: Callable[..., FlaskClient]) -> FlaskClient:
    return client_of(app)


def rows(client: FlaskClient, query: str) -> list[dict[str, str]]:
    answer = client.get(f"/trace/export.csv?{query}")
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.parametrize(
    ("query", "sequences"),
    [
        ("q=part-0042", [42]),
        ("q=part-004", [49, 48, 47, 46, 45, 44, 43, 42, 41, 40]),
        ("q=PART-0042", []),
        ("q=100%25_011", [119, 118, 117, 116, 115, 114, 113, 112, 111, 110]),
        ("q=0190aaaa-0000-7000-8000-000000000005", [5]),
        ("lot=L2&verdict=NOT_OK", [120, 110, 100]),
        ("q=L2&defect=cracked", [120, 110, 100]),
        ("station=st1&until=2026-03-01T10:04", [3, 1]),
        ("since=2026-03-01T11:58", [120, 119, 118]),
        ("text=x123", [77]),
        ("text=100%25_", [120, 119, 118, 117, 116, 115, 114, 113, 112, 111, 110, 109, 108, 107, 106, 105, 104,
                        103, 102, 101]),
        ("device=nope", []),
        ("since=nonsense&until=9999-12-31&verdict=;DROP&q=part-0001", [1]),
    ],
)  # fmt: skip
def test_what_is_found_by_what(client: FlaskClient, query: str, sequences: list[int]) -> None:
    assert [int(row["sequence"]) for row in rows(client, query)] == sequences


def test_pages_go_on_where_the_last_one_ended(client: FlaskClient) -> None:
    html, seen = client.get("/trace").text, 0
    while True:
        seen += html.count('<th scope="row">')
        older = html.partition('id="older" href="')[2].partition('"')[0]
        if not older:
            break
        html = client.get(older.replace("&amp;", "&")).text
    assert seen == 120


def test_a_result_tells_its_whole_story(client: FlaskClient) -> None:
    html = client.get("/results/0190aaaa-0000-7000-8000-000000000117").text
    for words in ("names the hash of the row before", "row 117 of", "mes", "delivered", "mqtt", "Print"):
        assert words in html
    assert "still waits" not in html
    html = client.get("/results/0190aaaa-0000-7000-8000-000000000118").text
    assert "still waits: 3" in html
    assert "/results/0190aaaa-0000-7000-8000-000000000119" in html
    assert (
        "the row before never came here" in client.get("/results/0190aaaa-0000-7000-8000-000000000001").text
    )


def test_nobody_finds_what_lies_on_a_line_that_is_not_theirs(
    app: Flask, client_of: Callable[..., FlaskClient]
) -> None:
    client = client_of(app, None, "carl")
    assert client.get("/trace").status_code == 403
    assert rows(client_of(app, Role.VIEWER, "vera"), "q=part-0042") != []


def test_an_exported_cell_is_never_a_formula() -> None:
    for bad in ("=1+1", "+1", "-1", "@x", "\tx", HOSTILE):
        assert exports.cell(bad) == f"'{bad}"
    assert exports.cell("part-1") == "part-1"
    assert exports.cell(True) == "true"
    assert exports.cell(NOON) == "2026-03-01T12:00:00.000+00:00"


def test_an_export_holds_one_batch_at_a_time() -> None:
    drawn = []

    def batches() -> Any:
        for n in range(3):
            drawn.append(n)
            yield []

    told = exports.as_csv(batches())
    assert next(told).startswith("device,station,result_id,")
    assert drawn == [0]


def test_parquet_holds_the_same_rows(client: FlaskClient) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: the Parquet export is not tried")
    from pyarrow import parquet

    answer = client.get("/trace/export.parquet?lot=L2&verdict=NOT_OK")
    table = parquet.read_table(io.BytesIO(answer.data))
    assert table.column("sequence").to_pylist() == [120, 110, 100]
    assert table.column("decided_at").to_pylist()[0] == NOON


def test_without_pyarrow_parquet_says_what_to_install(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Any:
        raise exports.NoParquet

    monkeypatch.setattr(exports, "parquet", missing)
    answer = client.get("/trace/export.parquet")
    assert answer.status_code == 501
    assert "lineside[parquet]" in answer.text
