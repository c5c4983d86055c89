"""Is there room for results, and does the disk take them fast enough?"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lineside.daemon.doctor.base import Finding, Level, Subject

LOW_BYTES, TOO_LOW_BYTES = 2 * 2**30, 256 * 2**20
SLOW_SYNC_S = 0.1
"""Every verdict waits for one: beyond this a line notices."""
SYNCS = 5
BLOCK = bytes(4096)
BULK = bytes(2**20)
BULK_MB = 8


class DiskCheck:
    """Free bytes, then a small file written and synced where results go."""

    name = "disk"
    needs_settings = True

    def run(self, subject: Subject) -> Iterator[Finding]:
        """Room, then speed."""
        folder = Path(subject.known.device.data_dir)
        place = next((one for one in (folder, *folder.parents) if one.is_dir()), folder)
        free = shutil.disk_usage(place).free
        quota = subject.known.store.evidence_quota_mb * 2**20
        message = f"{free / 2**30:.1f} GiB free for {folder}"
        step = "free some room, or lower store.evidence_quota_mb"
        if free < TOO_LOW_BYTES:
            yield Finding(self.name, Level.FAILED, message, step)
        elif free < LOW_BYTES:
            yield Finding(self.name, Level.WARNING, message, step)
        else:
            note = "" if free > quota else f"; less than the evidence quota of {quota / 2**30:.1f} GiB"
            yield Finding(self.name, Level.OK, message + note)
        yield self._speed(place)

    def _speed(self, place: Path) -> Finding:
        try:
            sync_s, bulk_s = _measured(place)
        except OSError as error:
            step = "let the daemon's user write there; if it does already, the disk is read-only or broken"
            return Finding(self.name, Level.FAILED, f"{place} cannot be written: {error.strerror}", step)
        message = f"{sync_s * 1e3:.1f} ms a synced write, {BULK_MB / max(bulk_s, 1e-6):.0f} MiB/s"
        if sync_s > SLOW_SYNC_S:
            step = "use a better disk or card: every verdict waits for one synced write"
            return Finding(self.name, Level.WARNING, message, step)
        return Finding(self.name, Level.OK, message)


def _measured(place: Path) -> tuple[float, float]:
    """Seconds of a small synced write (the median of a few), and of a large one."""
    with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as file:
        times = []
        for _ in range(SYNCS):
            begun = time.perf_counter()
            file.write(BLOCK)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        for _ in range(BULK_MB):
            file.write(BULK)
        file.flush()
        os.fsync(file.fileno())
        return statistics.median(times), time.perf_counter() - begun
