"""Uploaded engine bundles: written to disk as they come, every hash checked, then named by their sha256.

Reads `manifest.json` as JSON and the rest as bytes; whether an engine runs, and who signed it, devices say.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

LARGEST_BUNDLE = 64 * 1024**3
LARGEST_MANIFEST = 1024 * 1024
MOST_FILES = 2000
SPARE = 256 * 1024**2
"""Bytes that an upload leaves free on the disk."""
CHUNK = 1024 * 1024


class RefusedBundle(ValueError):
    """A file that is no whole engine bundle, or does not fit; the message says which."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle. `sha256` is the file's, `digest` the manifest's: the engine's identity on devices."""

    sha256: str
    digest: str
    size_bytes: int
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The engine's name."""
        return str(self.manifest["name"])[:200]

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.manifest["version"])[:64]


def path_of(folder: Path, sha256: str) -> Path:
    """Where a bundle lies."""
    return folder / f"{sha256}.lsengine"


def receive(folder: Path, stream: IO[bytes], size_bytes: int) -> Bundle:
    """Writes what a browser sends, checks it and gives it its name; nothing stays of what is refused.

    Raises:
        RefusedBundle: too large, cut off, or no whole bundle.
    """
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    if not 0 < size_bytes <= LARGEST_BUNDLE:
        raise RefusedBundle(f"a bundle has between 1 and {LARGEST_BUNDLE} bytes; this has {size_bytes}")
    if shutil.disk_usage(folder).free < size_bytes + SPARE:
        raise RefusedBundle("there is no room for it on the dashboard's disk")
    handle, name = tempfile.mkstemp(prefix=".upload-", dir=folder)
    coming = Path(name)
    try:
        whole, got = hashlib.sha256(), 0
        with os.fdopen(handle, "wb") as file:
            while got < size_bytes and (data := stream.read(min(CHUNK, size_bytes - got))):
                file.write(data)
                whole.update(data)
                got += len(data)
            file.flush()
            os.fsync(file.fileno())
        if got < size_bytes:
            raise RefusedBundle(f"the upload was cut off after {got} of {size_bytes} bytes")
        made = check(coming, whole.hexdigest())
        coming.replace(path_of(folder, made.sha256))
        return made
    finally:
        coming.unlink(missing_ok=True)


def check(path: Path, sha256: str) -> Bundle:
    """Reads a `.lsengine` file through and compares every file in it with its manifest.

    Raises:
        RefusedBundle: it is damaged, or holds what its manifest does not name.
    """
    try:
        with (
            path.open("rb") as file,
            zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file) as plain,
            tarfile.open(fileobj=plain, mode="r|") as archive,
        ):
            manifest, digest = _manifest(archive)
            _files(archive, manifest["files"])
    except (tarfile.TarError, zstandard.ZstdError, EOFError, OSError) as error:
        raise RefusedBundle(f"it is no .lsengine file, or a damaged one ({error})"[:300]) from None
    return Bundle(sha256, digest, path.stat().st_size, manifest)


def _manifest(archive: tarfile.TarFile) -> tuple[dict[str, Any], str]:
    first = archive.next()
    content = archive.extractfile(first) if first is not None and first.isfile() else None
    if first is None or content is None or first.name != "manifest.json" or first.size > LARGEST_MANIFEST:
        raise RefusedBundle("it does not begin with a manifest.json")
    data = content.read()
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        raise RefusedBundle("its manifest.json is no JSON") from None
    files = read.get("files") if isinstance(read, dict) else None
    words = ("name", "version", "licence", "precision")
    if not isinstance(files, dict) or not all(isinstance(read.get(word), str) for word in words):
        raise RefusedBundle(f"its manifest.json lacks one of: files, {', '.join(words)}")
    if len(files) > MOST_FILES:
        raise RefusedBundle(f"its manifest.json names more than {MOST_FILES} files")
    return read, hashlib.sha256(data).hexdigest()


def _files(archive: tarfile.TarFile, named: Mapping[str, Any]) -> None:
    missing = dict(named)
    total = 0
    while (member := archive.next()) is not None:
        if member.isdir():
            continue
        wanted = missing.pop(member.name, None)
        content = archive.extractfile(member) if member.isfile() else None
        if wanted is None or content is None:
            raise RefusedBundle(f"it holds '{member.name[:100]}', which its manifest does not name")
        total += member.size
        if total > 2 * LARGEST_BUNDLE:
            raise RefusedBundle("unpacked it is larger than any engine")
        if _hash(content.read) != wanted:
            raise RefusedBundle(f"'{member.name[:100]}' is not what its manifest says: it is damaged")
    if missing:
        raise RefusedBundle(f"'{next(iter(missing))[:100]}' of its manifest is missing")


def _hash(read: Callable[[int], bytes]) -> str:
    found = hashlib.sha256()
    while data := read(CHUNK):
        found.update(data)
    return found.hexdigest()
