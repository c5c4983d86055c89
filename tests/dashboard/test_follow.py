"""Following: every result once, whatever happens to the device, the dashboard or the place of either."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import func, select

from lineside.dashboard import processes
from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import Address
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device, Lease, Station
from lineside.dashboard.database.result_tables import HourlyVerdicts, RecipeVersion, Result
from lineside.dashboard.ingest.births import read_birth
from lineside.dashboard.ingest.lease import TTL_S, Tenure
from lineside.dashboard.ingest.roster import Roster
from lineside.dashboard.reading.views import Contact

Follow = Callable[..., Any]
Wait = Callable[[Callable[[], bool], str], None]


def counted(database: Database) -> dict[str, int]:
    with database.reading() as session:
        sums = select(HourlyVerdicts.verdict, func.sum(HourlyVerdicts.n)).group_by(HourlyVerdicts.verdict)
        return {verdict: int(n) for verdict, n in session.execute(sums)}


def test_a_killed_device_comes_back_and_nothing_is_missed_or_doubled(
    device: Any, make: ModuleType, follow: Follow, wait_until: Wait
) -> None:
    for n in range(1, 4):
        device.store(make.inspection(n))
    followed = follow(device)
    for _ in range(3):
        last = device.store(make.inspection(100 + device._stored[-1].sequence)).sequence
        wait_until(lambda last=last: followed.sequences()[-1:] == [last], "a live result came")
        device.stop()
        wait_until(lambda: followed.contact("edge-07") is Contact.SILENT, "the device is silent")
        device.store(make.inspection(200 + last))
        newest = device.store(make.inspection(300 + last, make.NOT_OK, label="cracked")).sequence
        device.start()
        wait_until(
            lambda newest=newest: followed.sequences()[-1:] == [newest], "what was stored meanwhile came"
        )
        wait_until(lambda: followed.contact("edge-07") is Contact.LIVE, "the device is live again")
    assert list(range(1, 13)) == followed.sequences()
    assert counted(followed.database) == {"OK": 9, "NOT_OK": 3}
    assert sorted(device.watches) == device.watches


def test_a_killed_follower_goes_on_where_the_database_is(
    device: Any, make: ModuleType, database: Database, wait_until: Wait
) -> None:
    """On both databases: the process is killed while results come in without a pause."""
    words = ["--device", f"127.0.0.1:{device.port}", "--database", database.url.render_as_string()]
    follow = processes.command(["dashboard", *words, "--timezone", "UTC", "follow"])
    stored = threading.Event()

    def line() -> None:
        for n in range(1, 1201):
            device.store(make.inspection(n, make.NOT_OK if n % 4 == 0 else make.OK, label="cracked"))
            stored.wait(0.005)

    def here() -> int:
        with database.reading() as session:
            return session.scalar(select(func.count()).select_from(Result)) or 0

    producing = threading.Thread(target=line, name="line")
    producing.start()
    process = subprocess.Popen(follow, stderr=subprocess.DEVNULL)
    wait_until(lambda: here() >= 150, "150 results came")
    process.kill()
    process.wait()
    producing.join()
    process = subprocess.Popen(follow, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: here() >= 1200, "all results came")
    finally:
        process.terminate()
        assert process.wait(30) == 0
    with database.reading() as session:
        sequences = list(session.scalars(select(Result.sequence).order_by(Result.id)))
        assert session.scalars(select(Lease)).all() == []
    assert list(range(1, 1201)) == sequences
    assert counted(database) == {"OK": 900, "NOT_OK": 300}


def test_a_device_that_was_replaced_begins_anew_and_its_past_is_kept(
    device: Any, make: ModuleType, follow: Follow, wait_until: Wait
) -> None:
    for n in range(1, 8):
        device.store(make.inspection(n))
    followed = follow(device)
    device.stop()
    device.forget_everything()
    device.store(make.inspection(50))
    device.start()
    wait_until(lambda: followed.sequences(history=2) == [1], "the new device's result came")
    assert list(range(1, 8)) == followed.sequences()


def test_a_device_found_at_another_address_keeps_its_row_and_its_results(
    device: Any, make: ModuleType, follow: Follow, wait_until: Wait, sqlite_database: Database
) -> None:
    device.store(make.inspection(1))
    first = follow(device, database=sqlite_database)
    first.stop()
    device.stop()
    with sqlite_database.writing() as session:
        session.scalars(select(Device)).one().heard_at = utc_now() - timedelta(hours=1)
    device.port = 0
    device.start()
    device.store(make.inspection(2))
    again = follow(device, database=sqlite_database)
    assert again.sequences() == [1, 2]
    with sqlite_database.reading() as session:
        row = session.scalars(select(Device)).one()
        assert (row.device, row.address) == ("edge-07", f"127.0.0.1:{device.port}")


def test_two_devices_of_one_name_are_not_mixed(make: ModuleType, follow: Follow, wait_until: Wait) -> None:
    one, other = make.ScriptedDevice("edge-07"), make.ScriptedDevice("edge-07")
    one.start()
    one.store(make.inspection(1))
    followed = follow(one)
    other.start()
    other.store(make.inspection(99))
    roster = Roster(followed.database)
    try:
        roster.add(Address("127.0.0.1", other.port), "mqtt")

        def trouble() -> str:
            with followed.database.reading() as session:
                found = select(Device.trouble).where(Device.address == f"127.0.0.1:{other.port}")
                return str(session.scalars(found).one())

        wait_until(lambda: "answers as edge-07" in trouble(), "the second one is refused, and said")
        assert followed.sequences() == [1]
    finally:
        one.stop()
        other.stop()


def test_what_the_device_says_of_itself_and_its_recipe_is_kept(
    device: Any, make: ModuleType, follow: Follow, wait_until: Wait
) -> None:
    device.store(make.inspection(1))
    followed = follow(device)
    with followed.database.reading() as session:
        row = session.scalars(select(Device)).one()
        assert (row.site, row.line, row.engine["name"], row.identified) == ("Nord", "Line 2", "qc", True)
        station = session.scalars(select(Station)).one()
        assert (station.station, station.ready, station.listed, station.strip) == ("st1", True, True, "o")
        assert "Is the cap on straight?" in str(session.scalars(select(RecipeVersion.text)).one())
    del device.stations["st1"]

    def listed() -> bool:
        with followed.database.reading() as session:
            return bool(session.scalars(select(Station.listed)).one())

    wait_until(lambda: not listed(), "a station that is gone is not listed any more")


def test_one_follows_and_another_takes_over(database: Database, another: Callable[..., Database]) -> None:
    clock = [0.0]
    here = Tenure(database, "follow", utc_now)
    there = Tenure(another(database), "follow", utc_now, lambda: clock[0])
    assert (here.take(), there.take(), here.take()) == (True, False, True)
    clock[0] += TTL_S + 1
    assert not there.take(), "the holder renewed meanwhile"
    clock[0] += TTL_S + 1
    assert there.take(), "nothing was heard of the holder for too long"
    assert not here.take()
    there.give_back()
    assert here.take()


def test_a_holder_whose_process_is_gone_is_followed_at_once(sqlite_database: Database) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    gone = Tenure(sqlite_database, "follow", utc_now)
    gone.holder = f"{gone.holder.split(':')[0]}:{dead.pid}:x"
    assert gone.take()
    assert Tenure(sqlite_database, "follow", utc_now).take()


ONLINE = {"device": "edge-1", "state": "online", "rpc_address": "10.0.0.4:50051"}


def test_a_birth_says_where_a_device_is() -> None:
    birth = read_birth(json.dumps(ONLINE).encode())
    assert birth is not None
    assert (birth.device, str(birth.address)) == ("edge-1", "10.0.0.4:50051")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 5000,
        json.dumps({**ONLINE, "state": "lost"}).encode(),
        json.dumps({**ONLINE, "rpc_address": None}).encode(),
        json.dumps({**ONLINE, "rpc_address": "http://evil/"}).encode(),
        json.dumps({**ONLINE, "device": ""}).encode(),
        json.dumps({**ONLINE, "more": "x" * 20000}).encode(),
    ],
)
def test_what_is_no_birth_is_none(payload: bytes) -> None:
    assert read_birth(payload) is None
