"""Engine files on their way to the device: in chunks, taken up again after any interruption.

    {sha256}.part, .json   what has come of a file, and how large it will be

Knows nothing of what an engine is.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lineside.daemon.pki.files import replace as replace_file

SPARE_BYTES = 1 << 30
"""What an upload must leave free: results need the disk more."""
MOST_UPLOADS = 4
KEEP_UPLOAD_S = 7 * 24 * 3600.0
LARGEST_CHUNK = 4 * 1024 * 1024
_SHA = re.compile(r"[0-9a-f]{64}")


class ShelfRefused(Exception):
    """Something that cannot be done with engines now. `reason` is UPPER_SNAKE and stable."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way. `size`, `received` in bytes; `touched_s`: when a chunk came last (Unix time)."""

    sha256: str
    size: int
    received: int
    touched_s: float


class EngineUploads:
    """Thread-safe. `folder` is made with the first upload."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()

    def begin(self, sha256: str, size: int, now_s: float) -> Upload:
        """Announces a file, or gives it as it stands. Raises ShelfRefused."""
        if not _SHA.fullmatch(sha256) or size < 1:
            raise ShelfRefused("BAD_UPLOAD", "64 hex digits in lower case and a size above 0 are wanted")
        with self._lock:
            known = self.find(sha256)
            if known is not None:
                if known.size != size:
                    raise ShelfRefused("BAD_UPLOAD", f"this file was announced with {known.size} bytes")
                return known
            self._forget_old(now_s)
            folder = self._folder
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if len(list(folder.glob("*.json"))) >= MOST_UPLOADS:
                raise ShelfRefused("NO_ROOM", f"{MOST_UPLOADS} uploads are under way: give one up first")
            # Twice: the bundle is unpacked to be verified while the file is still here.
            needed, free = 2 * size + SPARE_BYTES, shutil.disk_usage(folder).free
            if free < needed:
                raise ShelfRefused("NO_ROOM", f"{needed} bytes are needed, {free} are free")
            replace_file(self._note(sha256), json.dumps({"size": size, "touched_s": now_s}).encode())
            self.file(sha256).touch(mode=0o600)
            return Upload(sha256, size, 0, now_s)

    def find(self, sha256: str) -> Upload | None:
        """An upload as it stands."""
        if not _SHA.fullmatch(sha256):
            return None
        try:
            note = json.loads(self._note(sha256).read_bytes())
            received = self.file(sha256).stat().st_size
        except (FileNotFoundError, ValueError):
            return None
        return Upload(sha256, int(note["size"]), received, float(note["touched_s"]))

    def write(self, sha256: str, offset: int, data: bytes, now_s: float) -> Upload:
        """Appends a chunk; one that is here already changes nothing. Raises ShelfRefused."""
        with self._lock:
            known = self.find(sha256)
            if known is None:
                raise ShelfRefused("NOT_FOUND", "there is no such upload")
            if len(data) > LARGEST_CHUNK or offset < 0 or offset + len(data) > known.size:
                raise ShelfRefused("BAD_UPLOAD", "the chunk is too large or goes beyond the file's end")
            if offset > known.received:
                raise ShelfRefused("GAP", f"{known.received} bytes are here: go on from there")
            fresh = data[known.received - offset :]
            if not fresh:
                return known
            with self.file(sha256).open("ab") as file:
                file.write(fresh)
            note = {"size": known.size, "touched_s": now_s}
            replace_file(self._note(sha256), json.dumps(note).encode())
            return replace(known, received=known.received + len(fresh), touched_s=now_s)

    def give_up(self, sha256: str) -> bool:
        """Removes an upload; False when there was none."""
        with self._lock:
            known = self.find(sha256) is not None
            self._note(sha256).unlink(missing_ok=True)
            self.file(sha256).unlink(missing_ok=True)
            return known

    def _note(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.json"

    def file(self, sha256: str) -> Path:
        """Where the bytes of an upload lie."""
        return self._folder / f"{sha256}.part"

    def _forget_old(self, now_s: float) -> None:
        for note in self._folder.glob("*.json"):
            known = self.find(note.stem)
            if known is None or known.touched_s < now_s - KEEP_UPLOAD_S:
                self.give_up(note.stem)


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as a moment."""
    return datetime.fromtimestamp(seconds, UTC)
