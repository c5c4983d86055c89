"""Simulated devices announce themselves on a real broker, are found there, and are followed."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
from sqlalchemy import func, select

from lineside.dashboard.config import Address, DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.result_tables import Result
from lineside.dashboard.ingest.owner import Owner
from lineside.dashboard.simulator.fleet import plans, run

Wait = Callable[[Callable[[], bool], str], None]
MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto") or "mosquitto"


@contextmanager
def broker(folder: Path) -> Iterator[Address]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([MOSQUITTO, "-c", str(settings)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the broker did not start"
                time.sleep(0.05)
        yield Address("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def in_thread(name: str, work: Callable[[], None], stop: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=work, name=name)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join()


@pytest.mark.broker
def test_a_fleet_that_nobody_named_is_found_on_the_broker_and_every_result_comes(
    sqlite_database: Database, tmp_path: Path, wait_until: Wait
) -> None:
    wanted = [replace(plan, every_s=3600.0) for plan in plans(12)]
    loop = asyncio.new_event_loop()
    ended, stopping = asyncio.Event(), threading.Event()

    def counted() -> tuple[int, int]:
        with sqlite_database.reading() as session:
            identified = session.scalar(select(func.count()).where(Device.identified)) or 0
            return identified, session.scalar(select(func.count()).select_from(Result)) or 0

    with broker(tmp_path) as address:
        config = DashboardConfig(broker=address, timezone=UTC, probe_every_s=0.5)
        owner = Owner(sqlite_database, config)
        following = in_thread("owner-under-test", lambda: owner.run(stopping), stopping.set)
        playing = in_thread(
            "simulator-under-test",
            lambda: loop.run_until_complete(run(wanted, 0, 40, address, ended)),
            lambda: loop.call_soon_threadsafe(ended.set),
        )
        with playing, following:
            wait_until(lambda: counted() >= (12, 480), "all devices were found and all their results came")
            with sqlite_database.reading() as session:
                rows = session.execute(
                    select(Device.device, Device.found_by, func.count(), func.max(Result.sequence))
                    .join(Result, Result.device_id == Device.id)
                    .where(Result.sequence <= 40, Result.is_simulated)
                    .group_by(Device.id)
                    .order_by(Device.device)
                ).all()
                broken = session.scalar(select(func.count()).where(Result.chained.is_(False)))
    loop.close()
    assert [tuple(row) for row in rows] == [(f"sim-{n:04d}", "mqtt", 40, 40) for n in range(1, 13)]
    assert broken == 0


def test_the_same_plans_come_every_time_and_some_have_trouble() -> None:
    assert plans(30) == plans(30)
    assert len({plan.device for plan in plans(30)}) == 30
    assert [plan.ready for plan in plans(30)].count(False) == 1
    assert all(plan.ready and not plan.outbox_s for plan in plans(30, trouble=False))
