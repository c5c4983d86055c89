"""From a video file to the plant's ears, over real processes: every part once, the same everywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping

import pytest
from chain_plant import until
from sqlalchemy import create_engine, text

from lineside.daemon.demo.summary import Heard, summarise
from lineside.daemon.demo.truth import part_at
from lineside.daemon.store import database

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def rows(folder) -> list[Mapping[str, object]]:
    """What the store holds, read as an auditor would: from the file itself."""
    engine = create_engine(f"sqlite:///{folder / 'data' / database.FOLDER / database.FILE}")
    try:
        with engine.begin() as connection:
            found = connection.execute(
                text("select result_id, sequence, verdict from results order by sequence")
            )
            return [dict(row._mapping) for row in found]
    finally:
        engine.dispose()


def open_intakes(folder) -> int:
    engine = create_engine(f"sqlite:///{folder / 'data' / database.FOLDER / database.FILE}")
    try:
        with engine.begin() as connection:
            query = "select count(*) from intakes where result_id not in (select result_id from results)"
            return int(connection.execute(text(query)).scalar_one())
    finally:
        engine.dispose()


def test_the_demo_ends_by_itself_and_its_last_line_is_the_summary(tmp_path):
    command = "from lineside.daemon.cli import main; main()"
    arguments = ["demo", "--parts", "20", "--seed", "7", "--headless", "--fast", "--out", str(tmp_path)]

    ended = subprocess.run(
        [sys.executable, "-c", command, *arguments], capture_output=True, text=True, timeout=300, check=False
    )

    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert (summary["parts_drawn"], summary["parts_judged"]) == (20, 20)
    assert (summary["missed"], summary["doubled"], summary["strays"]) == (0, 0, 0)
    assert summary["ok"] + summary["not_ok"] + summary["not_decidable"] == 20
    assert summary["mqtt_received"] == summary["grpc_received"] == summary["stored"] == 20
    assert summary["camera_to_verdict_ms"]["p50"] <= summary["camera_to_verdict_ms"]["p99"]


def test_store_broker_and_grpc_agree_on_each_part_and_with_the_truth(plant, drawn_line):
    one = plant()
    count = len(drawn_line.parts)
    until(lambda: one.on_broker.received == one.on_grpc.received == count, "every verdict on both ways out")
    assert one.stop_daemon() == 0

    stored = rows(one.folder)
    assert [row["sequence"] for row in stored] == list(range(1, count + 1))
    assert {row["result_id"]: row["verdict"] for row in stored} == {
        record["result_id"]: record["verdict"] for record in one.records
    }
    said = summarise(
        [Heard.from_record(record) for record in one.records],
        parts=drawn_line.parts,
        reach=drawn_line.reach,
        mqtt_received=one.on_broker.received,
        grpc_received=one.on_grpc.received,
        stored=len(stored),
    )
    assert (said["missed"], said["doubled"], said["strays"]) == (0, 0, 0)
    assert said["escapes"] == 0
    assert said["overkill"] == 0


def test_a_killed_engine_process_costs_no_part(plant, drawn_line):
    one = plant()
    count = len(drawn_line.parts)
    until(lambda: one.on_broker.received >= 3, "the first verdicts")
    before = one.engine_pid()
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: one.on_broker.received == one.on_grpc.received == count, "every verdict on both ways out")

    assert one.engine_pid() != before
    parts = Counter(
        part.index
        for record in one.records
        if (part := part_at(drawn_line.parts, int(str(record["frame_index"])), reach=drawn_line.reach))
        is not None
    )
    assert parts == Counter(range(count)), "each part once"
    assert one.stop_daemon() == 0


def test_a_killed_broker_costs_no_verdict(plant, drawn_line):
    one = plant()
    count = len(drawn_line.parts)
    until(lambda: one.on_broker.received >= 3, "the first verdicts")
    one.kill_broker()
    until(lambda: one.stored() == count, "the line judged to its end with no broker")
    one.start_broker()
    until(lambda: one.on_broker.received == count, "the rest once the broker is back")

    assert one.on_grpc.received == count, "gRPC never needed the broker"
    assert Counter(record["result_id"] for record in one.records) == Counter(
        row["result_id"] for row in rows(one.folder)
    )


def test_a_killed_daemon_loses_no_triggered_part(plant, drawn_line):
    one = plant(realtime=True)
    for heard in (2, 5):
        until(lambda heard=heard: one.on_broker.received >= heard, "verdicts before the kill")
        one.kill_daemon()
        one.start_daemon()
    # Played from the start by the third process: that one is let to finish.
    until(one.line_has_ended, "a whole line")
    assert one.stop_daemon() == 0
    # What was decided at the last moment is durable and goes out after the next start, if not before.
    kept = len(rows(one.folder))
    one.start_daemon()
    until(lambda: one.stored() >= kept, "the daemon is up again with all it had")
    until(lambda: min(one.on_broker.received, one.on_grpc.received) >= kept, "both ways out caught up")
    kept_results = {row["result_id"] for row in rows(one.folder)[:kept]}
    assert kept_results <= {record["result_id"] for record in one.records}
    assert one.stop_daemon() == 0

    stored = rows(one.folder)
    assert open_intakes(one.folder) == 0, "every accepted part has its verdict"
    assert [row["sequence"] for row in stored] == list(range(1, len(stored) + 1))
