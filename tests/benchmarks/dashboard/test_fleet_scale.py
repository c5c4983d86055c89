"""How long the fleet and the quality page take over many devices and results in PostgreSQL.

    LINESIDE_BENCH_RESULTS=1000000 pytest tests/benchmarks/dashboard/test_fleet_scale.py -s -n 0

fills a database of its own (rows made inside PostgreSQL, then counted as the follower would have) and prints
the median and p95 of whole requests through the application. Options by environment: LINESIDE_BENCH_RESULTS,
LINESIDE_BENCH_DEVICES, LINESIDE_BENCH_DRAWS. What it says of a busy machine is said of a busy machine.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import text

from lineside.dashboard.app import create_app
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.connection import Database, read_url
from lineside.dashboard.database.migrate import migrate
from lineside.dashboard.people import accounts, sessions
from lineside.dashboard.people.guard import COOKIE
from lineside.dashboard.people.rights import Role

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
RESULTS = int(os.environ.get("LINESIDE_BENCH_RESULTS", "1000000"))
DEVICES = int(os.environ.get("LINESIDE_BENCH_DEVICES", "1000"))
DRAWS = int(os.environ.get("LINESIDE_BENCH_DRAWS", "30"))
DAYS = 30
PAGES = (
    "/", "/?more=1", "/quality", "/quality?by=station", "/quality?since=2026-02-07",
    "/quality?line=line-7&by=lot", "/quality?since=2026-03-07&until=2026-03-08", "/trace",
    "/trace?q=part-0000012", "/review",
)  # fmt: skip

FILL = """
INSERT INTO devices (device, address, found_by, identified, site, area, line, labels, software_version,
    engine,
    engine_state, cameras, clock_synchronised, clock_ahead_s, last_sequence, outbox, evidence_bytes, heard_at,
    watch_heard_at, trouble)
SELECT 'dev-' || d, 'host-' || d || ':1', 'configured', true, 'plant-' || d % 4, 'area', 'line-' || d /
    8, '{}',
    '0.1.0', '{"name":"qc","version":"3","digest":"cd","runtime":"onnxruntime"}', 'READY', '[]', true, 0,
    :results / :devices, '{"mqtt":0}', 0, :now, :now, '' FROM generate_series(1, :devices) d;
INSERT INTO stations (device_id, station, listed, cameras, recipe, ready, not_ready_because, pending, waiting,
    strip, last_sequence, last_decided_at, last_result_id, recent_bad)
SELECT id, 'st1', true, '["cam1"]', '{"name":"cap","version":7,"hash":"ab"}', true, '[]', 0, 0,
    repeat('o', 60), 1, :now, '', '[]' FROM devices;
INSERT INTO recipe_versions (name, version, hash, first_seen_at) VALUES ('cap', 7, 'ab', :now);
INSERT INTO engine_versions (name, version, digest, runtime, first_seen_at)
    VALUES ('qc', '3', 'cd', 'ort', :now);
INSERT INTO results (result_id, device_id, history, sequence, station_id, part_id, lot, verdict, defect,
    confidence,
    recipe_id, engine_id, shift, decided_at, received_at, total_ms, is_simulated, clock_synchronised, chained,
    review, review_because)
SELECT 'r-' || n, s.device_id, 1, n / :devices + 1, s.id, 'part-' || lpad(n::text, 9, '0'),
    'L' || n / :devices / 500 || '-' || s.id % 8, v.verdict, CASE v.verdict WHEN 'NOT_OK' THEN v.label
    END, 0.9,
    1, 1, to_char(at - interval '6 hours', 'YYYY-MM-DD ') ||
        CASE WHEN extract(hour FROM at - interval '6 hours') < 8 THEN 'early'
             WHEN extract(hour FROM at - interval '6 hours') < 16 THEN 'late' ELSE 'night' END,
    at, at, 40, false, true, true,
    CASE WHEN v.verdict <> 'OK' AND n > :results * 0.98 THEN 'waiting' ELSE 'none' END,
    CASE WHEN v.verdict <> 'OK' THEN 'verdict' ELSE '' END
FROM generate_series(0, :results - 1) n
JOIN stations s ON s.id = n % :devices + 1
CROSS JOIN LATERAL (SELECT CASE n % 100 WHEN 7 THEN 'NOT_OK' WHEN 8 THEN 'NOT_DECIDABLE' ELSE 'OK' END
    AS verdict,
    (ARRAY['missing', 'tilted', 'cracked'])[n % 3 + 1] AS label) v
CROSS JOIN LATERAL (SELECT timestamptz '2026-03-08 12:00Z'
    - (:results - n) * (interval '30 days' / :results) AS at) w;
INSERT INTO hourly_verdicts SELECT date_trunc('hour', decided_at), station_id, shift, recipe_id,
    engine_id, verdict,
    count(*) FROM results GROUP BY 1, 2, 3, 4, 5, 6;
INSERT INTO shift_verdicts SELECT substr(shift, 1, 10)::date, shift, station_id, recipe_id, engine_id,
    verdict,
    count(*) FROM results GROUP BY 1, 2, 3, 4, 5, 6;
INSERT INTO shift_defects SELECT substr(shift, 1, 10)::date, shift, station_id, defect, count(*) FROM results
    WHERE defect IS NOT NULL GROUP BY 1, 2, 3, 4;
INSERT INTO lot_verdicts SELECT lot, station_id, verdict, count(*), min(decided_at), max(decided_at)
    FROM results
    GROUP BY 1, 2, 3;
UPDATE stations SET waiting = (SELECT count(*) FROM results r WHERE r.station_id = stations.id
    AND r.review = 'waiting');
"""


def filled_in(statement: str) -> str:
    """With the sizes in it."""
    for name, value in ((":results", RESULTS), (":devices", DEVICES), (":now", f"timestamptz '{NOW}'")):
        statement = statement.replace(name, str(value))
    return statement.replace(";", "").replace("%", "%%")


def databases() -> ModuleType:
    """The tests' way to a PostgreSQL server of their own."""
    path = Path(__file__).parents[2] / "dashboard" / "databases.py"
    spec = importlib.util.spec_from_file_location("databases", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["databases"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.timeout(3600)
def test_pages_over_many_devices_and_results() -> None:
    servers = databases()
    why = servers.missing()
    if why:
        pytest.skip(why)
    with servers.postgresql() as url:
        database = Database(read_url(url))
        migrate(database)
        began = time.perf_counter()
        with database.statements() as connection:
            for statement in FILL.split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(filled_in(statement))
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        print(f"\n{RESULTS:,} results of {DEVICES:,} devices, filled in {time.perf_counter() - began:.0f} s")
        app = create_app(DashboardConfig(timezone=UTC), database, now=lambda: NOW)
        with database.writing() as session:
            user = accounts.add(session, "ana", Role.ADMIN, None, by="bench", at=NOW)
            token = sessions.begin(session, user, "127.0.0.1", NOW)
        client = app.test_client()
        client.set_cookie(COOKIE, token)
        print(f"| page | median ms | p95 ms | of {DRAWS} |\n|---|---|---|---|")
        for page in PAGES:
            took = []
            for _ in range(DRAWS):
                begin = time.perf_counter()
                answer = client.get(page)
                took.append((time.perf_counter() - begin) * 1000)
                assert answer.status_code == 200, page
            took.sort()
            p95 = took[min(len(took) - 1, int(len(took) * 0.95))]
            print(f"| `{page}` | {took[len(took) // 2]:.0f} | {p95:.0f} | |")
        print(f"load average {os.getloadavg()[0]:.1f}")
        database.close()
