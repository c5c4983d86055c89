"""What TensorRT measured while it compiled, kept so that the next build of a chip need not measure again.

One file for a library's version and chip. TensorRT-RTX has none: it compiles without measuring. Knows files;
the bytes are the library's own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lineside.engines.durable import replace_text
from lineside.engines.tensorrt.library import Library


def cache_path(folder: Path, library: Library, sm: int) -> Path:
    """Where the cache for a chip is kept."""
    return folder / f"timing-{library.runtime}-{library.version}-sm{sm}.cache"


def lend(library: Library, config: Any, path: Path) -> None:
    """Gives a build what is known; a file that the library does not take is as good as none."""
    if library.runtime == "tensorrt-rtx":
        return
    known = path.read_bytes() if path.is_file() and _ours(path) else b""
    cache = config.create_timing_cache(known)
    if not config.set_timing_cache(cache, False) and known:
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep(library: Library, config: Any, path: Path) -> None:
    """Keeps what is known after a build."""
    if library.runtime == "tensorrt-rtx":
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, bytes(config.get_timing_cache().serialize()), 0o600)


def _ours(path: Path) -> bool:
    """Whether nobody else can have written it: a compiler reads it."""
    seen = path.stat()
    return seen.st_uid == os.geteuid() and not seen.st_mode & 0o022
