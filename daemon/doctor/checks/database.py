"""Is the database sound, and of this release?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lineside.daemon.doctor.base import Finding, Level, Subject
from lineside.daemon.store import database
from lineside.daemon.store.errors import StoreError
from lineside.daemon.store.schema import HEAD_REVISION


class DatabaseCheck:
    """Pages (of files up to 256 MiB), schema and size. Whether rows were edited `lineside audit` says."""

    name = "database"
    needs_settings = True

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding, and one for each database that was set aside."""
        folder = Path(subject.known.device.data_dir)
        file = folder / database.FOLDER / database.FILE
        for aside in sorted(folder.glob(f"{database.FOLDER}.damaged-*")):
            step = "copy it elsewhere and have it looked at; then remove it"
            yield Finding(self.name, Level.WARNING, f"{aside} was set aside as damaged", step)
        if not file.exists():
            yield Finding(self.name, Level.SKIPPED, f"{file}: none yet, the daemon makes it")
            return
        try:
            damage, revision = database.damage_of(file), database.revision_of(file)
        except (sqlite3.Error, StoreError) as error:
            step = "look as the daemon's user; if that does not help, look at the disk"
            yield Finding(self.name, Level.FAILED, f"{file} cannot be read: {error}", step)
            return
        if damage is not None:
            step = "copy the folder elsewhere; at its next start the daemon sets it aside and goes on"
            yield Finding(self.name, Level.FAILED, f"{file} is damaged: {damage}", step)
            return
        megabytes = (file.stat().st_size + database.wal_bytes(file)) / 2**20
        message = f"{file}: sound, {megabytes:.1f} MiB, schema {revision}"
        if revision is not None and revision > HEAD_REVISION:
            step = "install the newer release again"
            yield Finding(self.name, Level.FAILED, f"{message}, of a newer release", step)
        elif revision != HEAD_REVISION:
            yield Finding(self.name, Level.OK, f"{message}; the next start brings it to {HEAD_REVISION}")
        else:
            yield Finding(self.name, Level.OK, message)
