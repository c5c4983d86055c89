"""What was already verified: so that an engine of many gigabytes need not be hashed at every start.

A record says that the files of one folder had the right hashes when they had this size, these times, this
inode. Any change of a file's content changes one of them (no program can set the change time), and what was
written too recently to tell is not recorded. A record never counts for `verify`, and cannot see a disk that
loses bits silently: that is what `lineside engine verify` is for. Knows files; does not know manifests.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from lineside.engines.durable import replace_text

# A file may be written twice within one tick of the file system's clock; older than this, it was not.
SETTLED_NS = 2_000_000_000
_FORMAT = 1


class VerificationRecords:
    """Records under one folder, a file a bundle."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, bundle: Path, digest: str, names: Iterable[str]) -> bool:
        """Whether these files of `bundle` are as they were when its manifest's `digest` was verified."""
        path = self._path(bundle)
        try:
            kept = path.lstat()
            # Only we may have written it: a record vouches for files.
            if not stat.S_ISREG(kept.st_mode) or kept.st_uid != os.geteuid() or kept.st_mode & 0o022:
                return False
            record = json.loads(path.read_bytes())
            now = fingerprint(bundle, names)
        except (OSError, ValueError):
            return False
        return bool(record == {"format": _FORMAT, "digest": digest, "files": now})

    def keep(self, bundle: Path, digest: str, verified: dict[str, list[int]]) -> None:
        """Records that files with these fingerprints were verified, if they were at rest."""
        latest = max((max(one[1], one[2]) for one in verified.values()), default=0)
        if latest > time.time_ns() - SETTLED_NS:
            return
        record = {"format": _FORMAT, "digest": digest, "files": verified}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_text(self._path(bundle), json.dumps(record).encode(), 0o600)
        except OSError:
            # A full or read-only disk: the next start hashes again, that is all.
            return

    def _path(self, bundle: Path) -> Path:
        return self._folder / hashlib.sha256(os.fsencode(bundle.resolve())).hexdigest()[:32]


def fingerprint(folder: Path, names: Iterable[str]) -> dict[str, list[int]]:
    """Each file's size, modification and change time [ns], inode and device."""
    found: dict[str, list[int]] = {}
    for name in names:
        seen = (folder / name).lstat()
        found[name] = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_dev]
    return found
