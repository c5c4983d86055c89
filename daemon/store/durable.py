"""Files that are complete once they have their name: written aside, fsynced, renamed, folder fsynced.

It knows nothing of what is in them.
"""

from __future__ import annotations

import os
from pathlib import Path

PART_SUFFIX = ".part"
"""Ends the name of a file that is not complete yet; such a file is worthless after a crash."""


def write_file(path: Path, data: bytes) -> None:
    """Writes `data` so that `path` is either the old file or the whole new one, on disk when this returns.

    Raises:
        OSError: nothing of the kind happened; no file of the new content has the name.
    """
    place_file(path, data)
    sync_folder(path.parent)


def place_file(path: Path, data: bytes) -> None:
    """As `write_file`, but the name itself is durable only after `sync_folder(path.parent)`."""
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.rename(path)
    except OSError:
        discard(part)
        raise


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(path: Path) -> bool:
    """Removes a file if it can be removed; says whether it is gone. A read-only disk keeps it."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
