"""The real daemon on a disk that refuses: the reject output goes on, the plant hears of it, nothing is lost.

`LINESIDE_FAULTS=all` tries every kind of refusal, otherwise one of them stands for all.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from chain_plant import Plant, until
from failing_disk import FailingDisk
from paho.mqtt.enums import CallbackAPIVersion
from ruamel.yaml import YAML
from soak import play_for_ever
from sqlalchemy import create_engine, text

from lineside.daemon.demo.video import draw_line
from lineside.daemon.store import chain, database

pytestmark = [pytest.mark.broker, pytest.mark.slow]

ALARM_WITHIN_S = 5.0
NUMBERS = [errno.EROFS, errno.ENOSPC, errno.EIO][: None if os.environ.get("LINESIDE_FAULTS") == "all" else 1]


class Alerts:
    """Hears the plant's alerts, with the time of each."""

    def __init__(self, host: str, port: int) -> None:
        self.heard: list[tuple[float, str]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("lineside/v1/+/+/+/+/alert", qos=1)
        self._client.on_message = lambda _c, _u, message: self.heard.append(
            (time.monotonic(), json.loads(message.payload)["code"])
        )
        self._client.connect(host, port)
        self._client.loop_start()

    def codes(self) -> set[str]:
        return {code for _, code in self.heard}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def line(
    tmp_path: Path, failing_disk: Callable[[Path], FailingDisk]
) -> Iterator[tuple[Plant, FailingDisk, Path]]:
    """A daemon over a line that plays for ever, with a reject output that writes down each of its pulses."""
    # Every part is bad: each moves the gate.
    plant = Plant(tmp_path, draw_line(tmp_path, parts=12, seed=5, good_share=0.0), realtime=True)
    play_for_ever(plant)
    pulses = tmp_path / "pulses"
    pulses.touch()
    script = tmp_path / "gate"
    script.write_text(f'#!/bin/sh\n[ "$1" = on ] && echo on >> {pulses}\nexit 0\n')
    script.chmod(0o755)
    yaml = YAML()
    settings = yaml.load(plant.settings)
    settings["outputs"] = [
        {"id": "gate", "station": settings["stations"][0]["id"], "kind": "command", "role": "reject",
         "command": [str(script)], "delay_ms": 0, "pulse_ms": 20},
    ]  # fmt: skip
    with plant.settings.open("w") as file:
        yaml.dump(settings, file)
    disk = failing_disk(tmp_path / "data")
    plant.start_broker()
    plant.on_broker.__enter__()
    assert plant.on_broker.wait_until_listening(60)
    plant.on_grpc.__enter__()
    plant.start_daemon(disk.environment())
    yield plant, disk, pulses
    plant.on_broker.__exit__(None, None, None)
    plant.on_grpc.__exit__(None, None, None)
    plant.close()


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_a_disk_that_refuses_stops_no_verdict_and_loses_none(
    line: tuple[Plant, FailingDisk, Path], number: int
) -> None:
    plant, disk, pulses = line
    until(lambda: plant.on_broker.received >= 3, "the first verdicts")
    alerts = Alerts(plant.broker.host, plant.broker.port)

    disk.fail(number)
    failed_at = time.monotonic()
    acted = len(pulses.read_text().splitlines())
    until(lambda: "DATABASE_FAILING" in alerts.codes(), "the alarm")
    alarm_s = next(at for at, code in alerts.heard if code == "DATABASE_FAILING") - failed_at
    until(lambda: len(pulses.read_text().splitlines()) >= acted + 6, "the gate goes on meanwhile")
    heard_meanwhile = plant.on_broker.received
    disk.work()
    until(lambda: "DATABASE_RECOVERED" in alerts.codes(), "writing again")
    until(lambda: plant.on_broker.received >= heard_meanwhile + 6, "what waited, and what came since")
    alerts.close()
    assert plant.stop_daemon() == 0, plant.log()[-3000:]

    assert alarm_s < ALARM_WITHIN_S + 1.5, "a part comes every 1.2 s, and only a write finds the disk out"
    check_rows(plant)


def check_rows(plant: Plant) -> None:
    """Nothing that was heard is missing, nothing is there twice, and the chain holds."""
    file = plant.folder / "data" / database.FOLDER / database.FILE
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        rows = connection.execute(text("select sequence, result_id from results order by sequence")).all()
        still_open = connection.execute(text("select count(*) from intakes")).scalar_one()
    engine.dispose()
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert {record["result_id"] for record in plant.records} <= {row.result_id for row in rows}
    assert set(Counter(record["result_id"] for record in plant.records).values()) == {1}
    assert still_open == 0
    assert chain.verify_database(file).ok
