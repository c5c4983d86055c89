"""Writes named texts as one `.tar.gz`, whole or not at all, for its owner alone.

Knows nothing of their content.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

FOLDER = "lineside-support"


def write_archive(out: Path, texts: Iterable[tuple[str, str]], at: datetime) -> int:
    """Writes the archive and gives its size in bytes. Raises OSError; what was at `out` then stays."""
    descriptor, name = tempfile.mkstemp(prefix=f".{out.name}-", dir=out.parent)  # mode 0600
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                for inside, text in texts:
                    data = text.encode(errors="replace")
                    entry = tarfile.TarInfo(f"{FOLDER}/{inside}")
                    entry.size, entry.mtime, entry.mode = len(data), int(at.timestamp()), 0o600
                    archive.addfile(entry, io.BytesIO(data))
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return out.stat().st_size
