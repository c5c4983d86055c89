"""Opening a store's folder: lock, damage, migration. What comes out is a database that can be trusted.

It knows the files and their order, and no statement about results.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from lineside.daemon.store import chain, database
from lineside.daemon.store.errors import StoreError, StoreInUse
from lineside.daemon.store.sequences import SequenceReserve


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that can be written. `damage`: why the one found was set aside, and where it is now."""

    writer: Engine
    file: Path
    created: bool
    damage: str | None


def lock(folder: Path, stack: ExitStack) -> None:
    """Makes the folder this process's own until the stack closes.

    Raises:
        StoreInUse: another process has it.
    """
    descriptor = os.open(folder / "store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreInUse(f"another process has the store in {folder} open") from None


def open_database(folder: Path, reserve: SequenceReserve, now: datetime, stack: ExitStack) -> Opened:
    """Opens the database of a locked folder, migrated; one that is damaged is set aside and begun anew.

    Raises:
        NewerDatabase, StoreError: it cannot be used by this release; nothing was changed.
        OSError, sqlite3.OperationalError: the disk does not let it be read or written.
    """
    inside = folder / database.FOLDER
    file = inside / database.FILE
    damage = database.damage_of(file)
    if damage is not None:
        aside = database.set_aside(inside, now)
        damage = f"{damage}; the damaged database was set aside as {aside}"
    inside.mkdir(mode=0o750, exist_ok=True)
    engine = database.writer_engine(file)
    stack.callback(engine.dispose)
    created = database.migrate(
        engine, file, chain_starts_after=_reserved(reserve, database.revision_of(file))
    )
    return Opened(engine, file, created, damage)


def mend_reserve(reserve: SequenceReserve, opened: Opened) -> None:
    """Rewrites a mark that cannot be read, from the rows."""
    with opened.writer.begin() as connection:
        last, _ = chain.head(connection)
    try:
        reserve.reserved()
    except ValueError:
        reserve.rewrite(last)


def _reserved(reserve: SequenceReserve, revision: str | None) -> int:
    try:
        return reserve.reserved()
    except ValueError as error:
        if revision is None:
            raise StoreError(
                "both the database and the mark of used sequence numbers are gone: numbers "
                "could be given twice; write a number beyond any that consumers have seen into the file "
                "sequence.reserved"
            ) from error
        return 0
