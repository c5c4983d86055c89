"""An edited, removed or added row is named by the check, whoever made it and with whatever tool."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from store_samples import GENEROUS_S, Samples, picture

from lineside.daemon.store import Store
from lineside.daemon.store.canonical import canonical_json
from lineside.daemon.store.chain import verify_database
from lineside.daemon.store.records import GENESIS, hash_of
from lineside.daemon.values import Verdict


@pytest.fixture
def file(open_store: Callable[..., Store], samples: Samples) -> Path:
    """A closed store's database with six results."""
    store = open_store()
    for number in range(6):
        verdict = Verdict.NOT_OK if number % 2 else Verdict.OK
        store.commit(samples.draft(verdict=verdict), [picture(b"%d" % number)]).result(GENEROUS_S)
    store.close()
    return store._file


def edit(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_an_untouched_store_holds(file: Path) -> None:
    found = verify_database(file)
    assert (found.ok, found.rows, found.first_broken, found.reason) == (True, 6, None, None)
    assert found.head_hash != GENESIS


def test_each_row_names_the_one_before_it(open_store: Callable[..., Store], file: Path) -> None:
    results = open_store().since(0)
    assert [result.prev_hash for result in results] == [GENESIS, *(r.row_hash for r in results[:-1])]


@pytest.mark.parametrize(
    ("statement", "first_broken", "reason"),
    [
        (
            """UPDATE results SET record = replace(record, '"verdict":"NOT_OK"', '"verdict":"OK"')
               WHERE sequence = 4""",
            4,
            "it was edited",
        ),
        ("UPDATE results SET verdict = 'OK' WHERE sequence = 4", 4, "the column verdict"),
        ("UPDATE results SET part_id = 'other' WHERE sequence = 2", 2, "the column part_id"),
        ("UPDATE results SET decided_at = '2020' WHERE sequence = 5", 5, "the column decided_at"),
        ("UPDATE results SET record = record || ' ' WHERE sequence = 3", 3, "canonical"),
        ("UPDATE results SET record = '{' WHERE sequence = 3", 3, "cannot be read"),
        ("UPDATE results SET row_hash = '0' WHERE sequence = 6", 6, "the column row_hash"),
        ("UPDATE findings SET label = 'ok' WHERE sequence = 4", 4, "the findings"),
        ("DELETE FROM findings WHERE sequence = 4", 4, "the findings"),
        ("DELETE FROM evidence WHERE sequence = 2", 2, "the evidence"),
        ("DELETE FROM results WHERE sequence = 3", 3, "row 3 is missing"),
        ("DELETE FROM results WHERE sequence = 1", 1, "row 1 is missing"),
        ("DELETE FROM results WHERE sequence >= 5", 5, "6 verdicts were counted"),
        ("UPDATE results SET sequence = 9 WHERE sequence = 6", 6, "row 6 is missing"),
    ],
)
def test_a_touched_row_is_named(file: Path, statement: str, first_broken: int, reason: str) -> None:
    edit(file, statement)
    found = verify_database(file)
    assert (found.ok, found.first_broken, found.rows) == (False, first_broken, first_broken - 1)
    assert found.reason is not None
    assert reason in found.reason


def test_a_row_forged_with_a_right_hash_breaks_the_next_one(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        (text,) = connection.execute("SELECT record FROM results WHERE sequence = 4").fetchone()
        record = json.loads(text)
        record["verdict"] = "OK"
        record["row_hash"] = hash_of(record)
        connection.execute(
            "UPDATE results SET record = ?, verdict = 'OK', row_hash = ? WHERE sequence = 4",
            (canonical_json(record), record["row_hash"]),
        )
    found = verify_database(file)
    assert (found.ok, found.first_broken) == (False, 5)
    assert found.reason is not None
    assert "does not name the row before it" in found.reason


def test_two_rows_exchanged_are_noticed(file: Path) -> None:
    edit(
        file,
        "UPDATE results SET sequence = 99 WHERE sequence = 2",
        "UPDATE results SET sequence = 2 WHERE sequence = 3",
        "UPDATE results SET sequence = 3 WHERE sequence = 99",
    )
    assert verify_database(file).first_broken == 2


def test_the_check_runs_beside_a_live_store(store: Store, samples: Samples) -> None:
    for _ in range(3):
        store.commit(samples.draft()).result(GENEROUS_S)
    found = verify_database(store._file)
    assert (found.ok, found.rows) == (True, 3)
    assert store.verify() == found
    assert store.commit(samples.draft()).result(GENEROUS_S).prev_hash == found.head_hash
