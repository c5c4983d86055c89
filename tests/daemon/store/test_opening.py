"""Opening migrated, newer, damaged and lost files: nothing is deleted, no number is given twice."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from store_samples import GENEROUS_S, Samples, TestClock

from lineside.daemon.store import Alarm, AlarmCode, NewerDatabase, Store, StoreError
from lineside.daemon.store import database as database_module
from lineside.daemon.store.database import MIGRATIONS, migrate, revision_of, writer_engine
from lineside.daemon.store.schema import HEAD_REVISION, metadata
from lineside.daemon.values import Verdict

STORED = Path(__file__).parent / "data"

SECOND = '''
"""A release to come: results get a colour."""
import sqlalchemy as sa
from alembic import op
revision = "9999"
down_revision = "{head}"
branch_labels = depends_on = None
def upgrade() -> None:
    op.add_column("results", sa.Column("colour", sa.String(), server_default="grey", nullable=False))
    {then}
'''


def put(store: Store, samples: Samples) -> int:
    return store.commit(samples.draft()).result(GENEROUS_S).sequence


@pytest.fixture
def written(open_store: Callable[..., Store], samples: Samples) -> Path:
    """The folder of a closed store with three results."""
    store = open_store()
    for _ in range(3):
        put(store, samples)
    store.close()
    return store._path


def restore(name: str, file: Path) -> None:
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((STORED / name).read_text())


def test_the_migrations_build_the_tables_that_the_code_uses(store: Store) -> None:
    with store._engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert revision_of(store._file) == HEAD_REVISION


def test_a_database_of_the_first_release_opens(open_store: Callable[..., Store], tmp_path: Path) -> None:
    restore("v0001.sql", tmp_path / "store" / "database" / "results.sqlite")
    store = open_store()
    assert store.verify().ok
    assert [result.verdict for result in store.since(0)] == [
        Verdict.OK,
        Verdict.NOT_OK,
        Verdict.NOT_DECIDABLE,
    ]
    assert [result.sequence for result in store.pending("mqtt")] == [2]
    assert [result.draft.intake.part_id for result in store.recover("boot-b")] == ["P00004"]
    assert store.last_sequence() == 4


def test_pictures_of_the_first_release_have_no_end_and_a_copy_is_left(
    open_store: Callable[..., Store], tmp_path: Path, samples: Samples, clock: TestClock
) -> None:
    file = tmp_path / "store" / "database" / "results.sqlite"
    restore("v0001.sql", file)
    with closing(sqlite3.connect(file)) as connection:
        named = connection.execute("SELECT evidence_id FROM evidence_files").fetchall()
    assert len(named) == 3
    old = b"of the first release"
    with closing(sqlite3.connect(file)) as connection, connection:
        (one,) = named[0]
        digest = hashlib.sha256(old).hexdigest()
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("UPDATE evidence_files SET evidence_id = ? WHERE evidence_id = ?", (digest, one))
    path = tmp_path / "store" / "evidence" / digest[:2] / digest
    path.parent.mkdir(parents=True)
    path.write_bytes(old)

    store = open_store()
    assert revision_of(store._file) == HEAD_REVISION
    assert revision_of(file.with_name("results.sqlite.before-0001")) == "0001"
    clock.pass_time(days=4000)
    for _ in range(2):
        store.set_state("settled", "").result(GENEROUS_S)
    assert store.read_evidence(digest) == old
    assert store.counts().evidence_expired == dict.fromkeys(Verdict, 0)


def test_a_database_of_the_second_release_goes_on_keeping_its_pictures(
    open_store: Callable[..., Store], tmp_path: Path, clock: TestClock
) -> None:
    """Three pictures of the same moment: for good, for thirty days (less what has run), for ninety."""
    restore("v0002.sql", tmp_path / "store" / "database" / "results.sqlite")
    for data in (b"ok", b"broken", b"not decidable"):
        path = tmp_path / "store" / "evidence" / hashlib.sha256(data).hexdigest()[:2]
        path.mkdir(parents=True, exist_ok=True)
        (path / hashlib.sha256(data).hexdigest()).write_bytes(data)
    clock.time += timedelta(days=1)
    store = open_store()
    assert store.verify().ok
    gone: list[dict[Verdict, int]] = []
    for days in (28, 2, 58, 2):
        clock.pass_time(days=days)
        for _ in range(2):
            store.set_state("settled", "").result(GENEROUS_S)
        gone.append({verdict: n for verdict, n in store.counts().evidence_expired.items() if n})
    both = {Verdict.NOT_OK: 1, Verdict.NOT_DECIDABLE: 1}
    assert gone == [{}, {Verdict.NOT_OK: 1}, {Verdict.NOT_OK: 1}, both]


def test_a_migration_keeps_every_row_and_leaves_a_copy(written: Path, tmp_path: Path) -> None:
    file, scripts = written / "database" / "results.sqlite", newer_release(tmp_path)
    engine = writer_engine(file)
    assert not migrate(engine, file, chain_starts_after=0, scripts=scripts, head="9999")
    engine.dispose()
    assert revision_of(file) == "9999"
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT sequence, colour FROM results").fetchall() == [
            (1, "grey"),
            (2, "grey"),
            (3, "grey"),
        ]
    copy = file.with_name(f"results.sqlite.before-{HEAD_REVISION}")
    assert revision_of(copy) == HEAD_REVISION
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM results").fetchone() == (3,)


def test_a_migration_that_fails_half_way_changes_nothing(written: Path, tmp_path: Path) -> None:
    file = written / "database" / "results.sqlite"
    scripts = newer_release(tmp_path, then="raise RuntimeError('half way')")
    engine = writer_engine(file)
    with pytest.raises(RuntimeError, match="half way"):
        migrate(engine, file, chain_starts_after=0, scripts=scripts, head="9999")
    engine.dispose()
    assert revision_of(file) == HEAD_REVISION
    with closing(sqlite3.connect(file)) as connection:
        assert "colour" not in {row[1] for row in connection.execute("PRAGMA table_info(results)")}


def test_a_database_of_a_newer_release_is_refused_and_left_alone(
    written: Path, open_store: Callable[..., Store]
) -> None:
    file = written / "database" / "results.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = file.read_bytes()
    with pytest.raises(NewerDatabase, match="newer release"):
        open_store()
    assert file.read_bytes() == before
    assert sorted(path.name for path in written.iterdir()) == [
        "database",
        "evidence",
        "sequence.reserved",
        "store.lock",
    ]


def test_some_other_database_is_refused(open_store: Callable[..., Store], tmp_path: Path) -> None:
    file = tmp_path / "store" / "database" / "results.sqlite"
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE recipes (a)")
    with pytest.raises(StoreError, match="not a store"):
        open_store()


def overwrite_header(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"\0" * 100)


def overwrite_page(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'ix_results_part_id'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as opened:
        opened.seek((page - 1) * size)
        opened.write(b"\xa5" * size)


def cut_in_half(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 8192 * 4096)


@pytest.mark.parametrize("spoil", [overwrite_header, overwrite_page, cut_in_half])
def test_a_damaged_database_is_set_aside_and_no_number_is_given_twice(
    written: Path,
    open_store: Callable[..., Store],
    samples: Samples,
    alarms: list[Alarm],
    spoil: Callable[[Path], None],
) -> None:
    file = written / "database" / "results.sqlite"
    spoil(file)
    spoilt = file.read_bytes()
    store = open_store()
    assert [alarm.code for alarm in alarms] == [AlarmCode.DATABASE_DAMAGED]
    (aside,) = written.glob("database.damaged-*")
    assert str(aside) in alarms[0].message
    assert (aside / "results.sqlite").read_bytes() == spoilt
    # Consumers see a gap, never an old number on a new part; the new chain holds.
    first = put(store, samples)
    assert first > 3
    assert put(store, samples) == first + 1
    assert store.verify().ok
    assert store.depth("mqtt") == 2
    store.acknowledge("mqtt", [first, first + 1]).result(GENEROUS_S)
    assert store.depth("mqtt") == 0
    store.close()
    again = open_store()
    assert again.last_sequence() == first + 1
    assert len(alarms) == 1


def test_pictures_of_a_damaged_database_are_not_swept_but_go_first(
    open_store: Callable[..., Store], samples: Samples
) -> None:
    from store_samples import picture

    store = open_store()
    store.commit(samples.draft(verdict=Verdict.NOT_OK), [picture(b"o" * 1000)]).result(GENEROUS_S)
    store.close()
    overwrite_header(store._file)
    again = open_store(evidence_quota_bytes=1500)
    assert again.counts().evidence_bytes == 1000
    again.commit(samples.draft(), [picture(b"n" * 1000)]).result(GENEROUS_S)
    again.close()
    left = [path.read_bytes() for path in (store._path / "evidence").rglob("*") if path.is_file()]
    assert left == [b"n" * 1000]


@pytest.mark.parametrize(
    "lose", [lambda folder: shutil.rmtree(folder / "database"), lambda folder: empty(folder)]
)
def test_a_lost_database_is_told_of_and_no_number_is_given_twice(
    written: Path,
    open_store: Callable[..., Store],
    samples: Samples,
    alarms: list[Alarm],
    lose: Callable[[Path], None],
) -> None:
    lose(written)
    store = open_store()
    assert [alarm.code for alarm in alarms] == [AlarmCode.DATABASE_DAMAGED]
    assert put(store, samples) > 3


def empty(folder: Path) -> None:
    (folder / "database" / "results.sqlite").write_bytes(b"")


def test_a_damaged_mark_is_mended_from_the_rows(
    written: Path, open_store: Callable[..., Store], samples: Samples
) -> None:
    mark = written / "sequence.reserved"
    mark.write_text("garbage")
    store = open_store()
    assert put(store, samples) == 4
    assert int(mark.read_text()) >= 4


def test_with_neither_database_nor_mark_it_does_not_guess(
    written: Path, open_store: Callable[..., Store]
) -> None:
    (written / "sequence.reserved").write_text("garbage")
    overwrite_header(written / "database" / "results.sqlite")
    with pytest.raises(StoreError, match="numbers could be given twice"):
        open_store()


def test_the_mark_is_always_ahead_of_the_numbers_given(
    open_store: Callable[..., Store], samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside.daemon.store.sequences.BLOCK", 3)
    store = open_store()
    for _ in range(10):
        assert put(store, samples) <= int((store._path / "sequence.reserved").read_text())


def test_a_large_database_is_not_read_page_by_page_at_each_start(
    written: Path, open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite_page(written / "database" / "results.sqlite")
    monkeypatch.setattr(database_module, "CHECK_WHOLE_BELOW_BYTES", 0)
    assert open_store().last_sequence() == 3


def newer_release(tmp_path: Path, then: str = "pass") -> Path:
    """The migrations of this release and one more."""
    scripts = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, scripts)
    (scripts / "versions" / "r9999_colour.py").write_text(SECOND.format(head=HEAD_REVISION, then=then))
    return scripts
