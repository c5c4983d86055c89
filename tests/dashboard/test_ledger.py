"""What arrives is stored once, counted once, in one transaction, on both databases."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import func, select

from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Cursor, Device, Station
from lineside.dashboard.database.result_tables import (
    Finding,
    HourlyDefects,
    HourlyVerdicts,
    RecipeVersion,
    Result,
    ResultRecord,
)
from lineside.dashboard.ingest.arrivals import Arrival
from lineside.dashboard.ingest.ledger import Ledger
from lineside.dashboard.ingest.shifts import DEFAULT, ShiftPlan

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHIFTS = ShiftPlan.read(DEFAULT, UTC)


def ledger(database: Database, sample: float = 0.0) -> Ledger:
    return Ledger(database, SHIFTS, sample)


def device_row(database: Database, name: str = "edge-07") -> int:
    with database.writing() as session:
        row = Device(device=name, address=f"{name}:1", found_by="configured")
        session.add(row)
        session.flush()
        return row.id


def arrivals(
    make: ModuleType, device: int, numbers: range, history: int = 1, **options: Any
) -> list[Arrival]:
    made = []
    for n in numbers:
        bad = n % 5 == 0
        message = make.inspection(
            n + 1_000_000 * history,
            make.NOT_OK if bad else make.OK,
            label="cracked" if bad else "ok",
            when=NOON + timedelta(minutes=n),
            station=f"st{n % 3}",
            **options,
        )
        message.sequence = n
        message.prev_hash, message.row_hash = f"{n - 1:064d}", f"{n:064d}"
        made.append(Arrival(device, history, n, NOON + timedelta(minutes=n), message))
    return made


def sequences(database: Database, device: int, history: int = 1) -> list[int]:
    with database.reading() as session:
        found = select(Result.sequence).where(Result.device_id == device, Result.history == history)
        return list(session.scalars(found.order_by(Result.sequence)))


def total(database: Database, table: Any) -> int:
    with database.reading() as session:
        return int(session.scalar(select(func.coalesce(func.sum(table.n), 0))) or 0)


def test_a_result_is_kept_with_its_findings_record_counts_and_place(
    database: Database, make: ModuleType
) -> None:
    device = device_row(database)
    assert ledger(database).store(arrivals(make, device, range(1, 11))) == 10
    with database.reading() as session:
        tenth = session.scalars(select(Result).where(Result.sequence == 10)).one()
        assert (tenth.verdict, tenth.defect, tenth.part_id, tenth.review) == (
            "NOT_OK",
            "cracked",
            "part-1000010",
            "waiting",
        )
        assert (tenth.shift, tenth.decided_at) == ("2026-03-01 early", NOON + timedelta(minutes=10))
        assert session.scalars(select(Finding.label)).all() == ["cracked", "cracked"]
        assert session.scalar(select(func.count()).select_from(ResultRecord)) == 10
        strips = dict(session.execute(select(Station.station, Station.strip)).all())
        assert strips == {"st1": "ooon", "st2": "ono", "st0": "ooo"}
        cursor = session.scalars(select(Cursor)).one()
        assert (cursor.sequence, cursor.history, cursor.skipped) == (10, 1, 0)
        chained = session.scalars(select(Result.chained).order_by(Result.sequence)).all()
        assert chained == [None] + [True] * 9
        bad = session.scalars(select(Station.recent_bad).where(Station.station == "st1")).one()
        assert [each["label"] for each in bad] == ["cracked"]
    assert (total(database, HourlyVerdicts), total(database, HourlyDefects)) == (10, 2)


def test_what_comes_twice_or_out_of_an_older_group_is_stored_once(
    database: Database, make: ModuleType
) -> None:
    device = device_row(database)
    one, other = ledger(database), ledger(database)
    group = arrivals(make, device, range(1, 8))
    assert one.store(group) == 7
    assert other.store(group) == 0
    assert other.store(arrivals(make, device, range(5, 12))) == 4
    assert list(range(1, 12)) == sequences(database, device)
    assert total(database, HourlyVerdicts) == 11


def test_two_processes_that_both_believe_they_follow_store_everything_once(
    database: Database, another: Callable[[Database], Database], make: ModuleType
) -> None:
    devices = [device_row(database, f"edge-{n}") for n in range(3)]
    everything = {device: arrivals(make, device, range(1, 61)) for device in devices}
    failures: list[BaseException] = []

    def run(one: Database, seed: int) -> None:
        order = random.Random(seed)
        mine, book = dict.fromkeys(devices, 0), ledger(one)
        try:
            while any(at < 60 for at in mine.values()):
                group = []
                for device in order.sample(devices, k=order.randint(1, 3)):
                    step = order.randint(1, 9)
                    group += everything[device][mine[device] : mine[device] + step]
                    mine[device] += step
                book.store(group)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in ((database, 1), (another(database), 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for device in devices:
        assert list(range(1, 61)) == sequences(database, device)
    with database.reading() as session:
        counted = Counter(session.scalars(select(Result.verdict)))
        by_verdict = select(HourlyVerdicts.verdict, func.sum(HourlyVerdicts.n))
        hours = dict(session.execute(by_verdict.group_by(HourlyVerdicts.verdict)).all())
    assert {verdict: int(n) for verdict, n in hours.items()} == dict(counted)


def test_a_transaction_that_fails_keeps_nothing_of_itself_and_may_be_given_again(
    database: Database, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, book = device_row(database), ledger(database)
    group = arrivals(make, device, range(1, 6))

    def dies(*_: object) -> None:
        raise ConnectionError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "_move", dies)
        with pytest.raises(ConnectionError):
            book.store(group)
    assert (sequences(database, device), total(database, HourlyVerdicts)) == ([], 0)
    assert book.store(group) == 5
    assert list(range(1, 6)) == sequences(database, device)


def test_a_gap_is_counted_and_a_broken_chain_is_noted(sqlite_database: Database, make: ModuleType) -> None:
    device, book = device_row(sqlite_database), ledger(sqlite_database)
    book.store(arrivals(make, device, range(1, 4)))
    book.store(arrivals(make, device, range(8, 10)))
    forged = arrivals(make, device, range(10, 11))
    forged[0].inspection.prev_hash = "f" * 64
    book.store(forged)
    with sqlite_database.reading() as session:
        assert session.scalars(select(Cursor.skipped)).one() == 4
        chained = session.execute(select(Result.sequence, Result.chained).order_by(Result.sequence)).all()
    assert [tuple(row) for row in chained][2:] == [(3, True), (8, None), (9, True), (10, False)]


def test_a_word_that_there_is_nothing_moves_the_cursor(sqlite_database: Database, make: ModuleType) -> None:
    device, book = device_row(sqlite_database), ledger(sqlite_database)
    book.store([Arrival(device, 1, 40, NOON)])
    assert book.store(arrivals(make, device, range(30, 43))) == 2
    with sqlite_database.reading() as session:
        assert session.scalars(select(Device.watch_heard_at)).one() is not None


def test_a_store_that_began_anew_counts_from_one_and_does_not_double_what_was_known(
    sqlite_database: Database, make: ModuleType
) -> None:
    device, book = device_row(sqlite_database), ledger(sqlite_database)
    first = arrivals(make, device, range(1, 6))
    book.store(first)
    again = [Arrival(device, 2, a.sequence, a.received_at, a.inspection) for a in first[:2]]
    new = arrivals(make, device, range(3, 5), history=2)
    assert book.store([Arrival(device, 2, 0, NOON, begins=True), *again, *new]) == 2
    assert book.store(arrivals(make, device, range(6, 8))) == 0, "of the store's former life"
    assert (sequences(sqlite_database, device), sequences(sqlite_database, device, 2)) == (
        [1, 2, 3, 4, 5],
        [3, 4],
    )


def test_whatever_a_device_writes_can_be_stored(database: Database, make: ModuleType) -> None:
    device = device_row(database)
    message = make.inspection(1, make.NOT_OK, part_id="p\x00" + "ß" * 900, label="l\x00" * 400)
    message.sequence, message.result_id = 1, "r" * 900
    message.recipe.recipe = "n\x00" * 500
    message.decide_time.seconds = 200_000_000_000
    message.findings[0].text = "t\x00"
    assert ledger(database).store([Arrival(device, 1, 1, NOON, message)]) == 1
    with database.reading() as session:
        kept = session.scalars(select(Result)).one()
        assert (len(kept.part_id), kept.decided_at) == (200, NOON)
        assert len(session.scalars(select(RecipeVersion.name)).one()) == 200


def test_a_sample_of_good_parts_waits_for_people_the_same_on_every_machine(
    sqlite_files: Any, make: ModuleType
) -> None:
    drawn = []
    for _ in range(2):
        database = Database(sqlite_files.migrated())
        book = ledger(database, sample=0.2)
        book.store(arrivals(make, device_row(database), range(1, 401)))
        with database.reading() as session:
            found = select(Result.sequence).where(Result.review_because == "sample").order_by(Result.sequence)
            drawn.append(session.scalars(found).all())
            waiting = select(func.count()).where(Result.review_because == "verdict")
            assert session.scalar(waiting) == 80
        database.close()
    assert drawn[0] == drawn[1]
    assert 30 <= len(drawn[0]) <= 100


@pytest.mark.parametrize(
    ("local", "shift"),
    [
        ("05:59", "2026-02-28 night"),
        ("06:00", "2026-03-01 early"),
        ("14:30", "2026-03-01 late"),
        ("23:59", "2026-03-01 night"),
    ],
)
def test_a_shift_has_the_date_it_began_on(local: str, shift: str) -> None:
    hour, minute = map(int, local.split(":"))
    assert SHIFTS.shift_of(NOON.replace(hour=hour, minute=minute)) == shift


@pytest.mark.parametrize("rows", [[], [["a", "06:00"], ["b", "06:00"]], [["a", "25:00"]]])
def test_a_plan_that_is_none_is_refused(rows: list[list[str]]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which words depends on what is wrong
        ShiftPlan.read(rows, None)
