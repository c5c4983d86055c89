"""`lineside audit verify` says whether the chain of verdicts holds, and names the first row that does not."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))  # for store_samples

from store_samples import GENEROUS_S, Samples, TestClock

from lineside.daemon.commands.audit import audit
from lineside.daemon.store import Store
from lineside.daemon.store.changes import Change
from lineside.daemon.store.desk import Desk

SETTINGS = """
device: {id: box1, data_dir: data}
cameras: [{id: cam1, kind: push}]
stations: [{id: st1, camera: cam1, recipe: tray.yaml}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "lineside.yaml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A closed store's database with four verdicts, where the settings say."""
    clock = TestClock()
    samples = Samples(clock)
    with Store.open(tmp_path / "data", device="box1", clock=clock) as store:
        for _ in range(4):
            store.commit(samples.draft()).result(GENEROUS_S)
    return tmp_path / "data" / "database" / "results.sqlite"


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(audit, ["verify", *arguments])


def edit(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def test_an_untouched_chain_holds_and_its_head_can_be_noted(config: Path, database: Path) -> None:
    ended = verify("--config", str(config), "--json")

    assert ended.exit_code == 0
    said = json.loads(ended.stdout)
    assert (said["ok"], said["rows"], said["first_broken"]) == (True, 4, None)
    assert said["head_hash"] in verify("--database", str(database)).stdout


def test_an_edited_verdict_is_named_and_the_exit_code_says_so(config: Path, database: Path) -> None:
    edit(database, "UPDATE results SET record = replace(record, '\"OK\"', '\"XX\"') WHERE sequence = 3")

    ended = verify("--config", str(config))
    as_json = verify("--database", str(database), "--json")

    assert (ended.exit_code, as_json.exit_code) == (1, 1)
    assert "verdict 3 does not hold (the 2 before it hold)" in ended.stdout
    assert json.loads(as_json.stdout)["first_broken"] == 3


def test_a_removed_verdict_is_named(config: Path, database: Path) -> None:
    edit(database, "DELETE FROM results WHERE sequence = 2")

    ended = verify("--config", str(config))

    assert ended.exit_code == 1
    assert "row 2 is missing" in ended.stdout


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be looked at as one" * 20])
def test_a_file_that_holds_no_chain_is_not_said_to_hold(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "results.sqlite"
    file.write_bytes(content)

    ended = verify("--database", str(file))

    assert ended.exit_code == 3
    assert "cannot be read" in ended.stderr


def test_a_chain_of_another_release_is_not_judged(database: Path) -> None:
    edit(database, "UPDATE alembic_version SET version_num = '9999'")

    ended = verify("--database", str(database))

    assert ended.exit_code == 3
    assert "9999" in ended.stderr


def test_without_a_database_the_command_says_where_it_looked(config: Path) -> None:
    ended = verify("--config", str(config))

    assert ended.exit_code == 3
    assert "has the daemon ever run" in ended.stderr


def test_two_places_to_look_are_one_too_many(config: Path, database: Path) -> None:
    assert verify("--config", str(config), "--database", str(database)).exit_code == 2


def test_an_edited_note_of_who_changed_what_is_named(config: Path, database: Path) -> None:
    clock = TestClock()
    with Store.open(database.parents[1], device="box1", clock=clock) as store:
        desk = Desk(store, clock)
        for method in ("a", "b", "c"):
            desk.note(Change(clock.now(), "anna", "admin", method, "", "OK"))
    assert verify("--config", str(config)).exit_code == 0

    edit(database, "UPDATE changes SET record = replace(record, 'anna', 'eve') WHERE sequence = 2")

    ended = verify("--config", str(config))
    assert ended.exit_code == 1
    assert "change 2 does not hold" in ended.stdout
    said = json.loads(verify("--config", str(config), "--json").stdout)
    assert (said["ok"], said["broken_change"]["sequence"]) == (True, 2)
