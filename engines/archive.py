"""The `.lsengine` form of a bundle: a tar in zstd, its manifest first and in a zstd frame of its own.

That frame is what lets a signature be put in, or taken out, without packing the weights again. Knows tar,
zstd and every way an archive can be broken or hostile; does not know what a bundle is for.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import zstandard

from lineside.engines.durable import sync_folder
from lineside.engines.errors import DamagedBundle
from lineside.engines.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest, check_name

SUFFIX = ".lsengine"
MAX_UNPACKED_BYTES = 64 << 30
# Weights hardly compress; graphs and JSON do, but are small.
_MAX_RATIO = 200
_FREE_BYTES = 64 << 20
_MAX_WINDOW = 1 << 27
_BLOCK = 1 << 20
_LEVEL = 10


def write_archive(folder: Path, names: Sequence[str], manifest: bytes, out: Path) -> None:
    """Packs `names` of `folder` behind `manifest`; `out` is replaced only when the archive is whole."""
    with _replacing(out) as raw:
        raw.write(_manifest_frame(manifest))
        with (
            _compressor().stream_writer(raw, closefd=False) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for name in names:
                with (folder / name).open("rb") as file:
                    archive.addfile(_member(name, os.fstat(file.fileno()).st_size), file)


def replace_manifest(path: Path, manifest: bytes) -> bool:
    """Gives an archive another manifest, its files as they are; False where the manifest has no frame alone.

    Whoever calls has verified the archive. `path` is replaced only when the new one is whole.
    """
    with path.open("rb") as file:
        end = _end_of_manifest_frame(file)
        if end is None:
            return False
        file.seek(end)
        with _replacing(path) as raw:
            raw.write(_manifest_frame(manifest))
            shutil.copyfileobj(file, raw, _BLOCK)
    return True


def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)


def _manifest_frame(manifest: bytes) -> bytes:
    header = _member(MANIFEST_NAME, len(manifest)).tobuf(tarfile.USTAR_FORMAT)
    return _compressor().compress(header + manifest + bytes(-len(manifest) % tarfile.BLOCKSIZE))


def _end_of_manifest_frame(file: BinaryIO) -> int | None:
    """Where the first frame ends, if it holds the manifest and nothing else."""
    frame = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
    held = b""
    while not frame.eof:
        block = file.read(1 << 16)
        if not block:
            return None
        held += frame.decompress(block)
        if len(held) > MAX_MANIFEST_BYTES + 2 * tarfile.BLOCKSIZE:
            return None
    size = tarfile.TarInfo.frombuf(held[: tarfile.BLOCKSIZE], "utf-8", "strict").size
    padded = size + -size % tarfile.BLOCKSIZE
    if len(held) != tarfile.BLOCKSIZE + padded:
        return None
    return file.tell() - len(frame.unused_data)


@contextmanager
def _replacing(out: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `out`, durably, when the block ends well."""
    handle, temporary = tempfile.mkstemp(prefix=f".{out.name}-", dir=out.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            yield raw
            raw.flush()
            os.fsync(raw.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(out)
    finally:
        Path(temporary).unlink(missing_ok=True)
    sync_folder(out.parent)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member


class _Bounded(io.RawIOBase):
    """A decompressed stream that ends with an error where a decompression bomb would go on."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(min(size, _BLOCK) if size >= 0 else _BLOCK)
        self._left -= len(block)
        if self._left < 0:
            raise DamagedBundle("the archive unpacks to far more than a bundle can be")
        return block


@contextmanager
def reading(file: BinaryIO) -> Iterator[tarfile.TarFile]:
    """The archive in `file`; every way in which it can be broken becomes DamagedBundle."""
    size = os.fstat(file.fileno()).st_size
    limit = min(MAX_UNPACKED_BYTES, size * _MAX_RATIO + _FREE_BYTES)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    try:
        with (
            decompressor.stream_reader(file, read_across_frames=True) as stream,
            tarfile.open(fileobj=_Bounded(stream, limit), mode="r|") as archive,
        ):
            yield archive
    except (tarfile.TarError, zstandard.ZstdError, EOFError, UnicodeError) as error:
        raise DamagedBundle(f"the archive is damaged or no {SUFFIX} file: {error}") from error


def first_member(archive: tarfile.TarFile) -> bytes:
    """The manifest, with which every archive begins.

    Raises:
        DamagedBundle: it begins with something else.
    """
    member = archive.next()
    if member is None or member.name != MANIFEST_NAME or not member.isreg():
        raise DamagedBundle(f"the archive does not begin with {MANIFEST_NAME}: it is no engine bundle")
    if member.size > MAX_MANIFEST_BYTES:
        raise DamagedBundle("manifest.json is larger than 4 MiB")
    content = archive.extractfile(member)
    assert content is not None
    return content.read()


def unpack(archive: tarfile.TarFile, manifest: Manifest, target: Path) -> None:
    """Writes the rest of an archive under `target`: the files that the manifest names, and no others.

    Raises:
        DamagedBundle: a file more, a link, a name that leaves the folder, an end in the middle.
    """
    seen: set[str] = set()
    while (member := archive.next()) is not None:
        if member.isdir():
            continue
        if not member.isreg():
            raise DamagedBundle(f"{member.name} is a link or a device: a bundle has plain files only")
        name = check_name(member.name)
        if name not in manifest.files or name in seen:
            raise DamagedBundle(f"{name} is not named by the manifest, or comes twice")
        seen.add(name)
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        assert content is not None
        written = 0
        with path.open("xb") as file:
            while block := content.read(_BLOCK):
                written += len(block)
                file.write(block)
        if written != member.size:
            raise DamagedBundle(f"the archive ends in the middle of {name}")
