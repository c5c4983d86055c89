"""Writing, verifying and unpacking engine bundles: a folder, or the same files in a `.lsengine` archive.

Nothing of a bundle is used before all of it is verified. Knows files, hashes and archives; does not know
graphs, runtimes or signatures.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from lineside.engines.errors import DamagedBundle
from lineside.engines.manifest import (
    FORMAT,
    MANIFEST_NAME,
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    Manifest,
    check_name,
    read_manifest,
)

SUFFIX = ".lsengine"
MAX_UNPACKED_BYTES = 64 << 30
# Weights hardly compress; graphs and JSON do, but are small.
_MAX_RATIO = 200
_FREE_BYTES = 64 << 20
_BLOCK = 1 << 20
_LEVEL = 10


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: `folder` holds the files its manifest names, and no others."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        """Where a file of the bundle is."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether the bundle has a file."""
        return name in self.manifest.files

    def text(self, name: str) -> str:
        """A text file's words."""
        try:
            return self.path(name).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise DamagedBundle(f"{name} is not UTF-8 text") from error

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file's object."""
        try:
            found = json.loads(self.text(name))
        except ValueError as error:
            raise DamagedBundle(f"{name} is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise DamagedBundle(f"{name} is not a JSON object")
        return found


def write_bundle(folder: Path, manifest_fields: Mapping[str, object], out: Path) -> str:
    """Makes a bundle of all files in `folder` (but a `manifest.json`) and gives its digest.

    `out` that ends in `.lsengine` becomes an archive, anything else a folder; what was there is replaced
    only when the new bundle is complete. The same files and fields give the same bytes.

    Raises:
        DamagedBundle: a file that may not be in a bundle, or fields that make no manifest.
    """
    names = [name for name in _walk(folder) if name != MANIFEST_NAME]
    files = {check_name(name): _sha256(folder / name) for name in names}
    fields = {**manifest_fields, "format": FORMAT, "files": files}
    data = (json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    manifest = read_manifest(data)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == SUFFIX:
        _write_archive(folder, names, data, out)
    else:
        _write_folder(folder, names, data, out)
    return manifest.digest


def _write_archive(folder: Path, names: list[str], manifest: bytes, out: Path) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{out.name}-", dir=out.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
            with (
                compressor.stream_writer(raw, closefd=False) as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
            ):
                # First, so that whoever unpacks knows what must come.
                archive.addfile(_member(MANIFEST_NAME, len(manifest)), io.BytesIO(manifest))
                for name in names:
                    with (folder / name).open("rb") as file:
                        archive.addfile(_member(name, os.fstat(file.fileno()).st_size), file)
            raw.flush()
            os.fsync(raw.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(out)
    finally:
        Path(temporary).unlink(missing_ok=True)
    _sync_folder(out.parent)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member


def _write_folder(folder: Path, names: list[str], manifest: bytes, out: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    old: Path | None = None
    try:
        for name in names:
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)
            _sync_file(target)
        (temporary / MANIFEST_NAME).write_bytes(manifest)
        _sync_file(temporary / MANIFEST_NAME)
        temporary.chmod(0o755)
        if out.exists():
            # A folder cannot be replaced in one step; whoever opens between the two finds none, never half.
            old = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
            out.replace(old)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    _sync_folder(out.parent)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def verify_bundle(path: Path) -> Manifest:
    """Verifies a bundle, folder or archive, in a place of its own, and gives its manifest.

    Raises:
        DamagedBundle, IncompatibleBundle: with the reason.
    """
    if path.is_dir():
        return _verified_folder(path).manifest
    with tempfile.TemporaryDirectory(prefix="lineside-verify-") as place:
        return open_bundle(path, Path(place)).manifest


def open_bundle(path: Path, cache: Path) -> Bundle:
    """Verifies a bundle and gives it as a folder; an archive is unpacked once under `cache`, by its digest.

    Safe with other processes that unpack at the same time, and after one that was killed while it did.

    Raises:
        DamagedBundle, IncompatibleBundle: with the reason.
    """
    if path.is_dir():
        return _verified_folder(path)
    if not path.is_file():
        raise DamagedBundle(f"{path} is no bundle: there is no such file or folder")
    with path.open("rb") as file, _archive(file) as archive:
        words = _first_member(archive)
        manifest = read_manifest(words)
        target = cache / manifest.digest
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{manifest.digest}.lock"):
            if target.is_dir():
                try:
                    return _verified_folder(target)
                except DamagedBundle:
                    shutil.rmtree(target)  # a disk that lost some of it: the archive still has all
            for leftover in cache.glob(f".{manifest.digest}-*"):
                shutil.rmtree(leftover)
            temporary = Path(tempfile.mkdtemp(prefix=f".{manifest.digest}-", dir=cache))
            try:
                _unpack(archive, manifest, temporary)
                (temporary / MANIFEST_NAME).write_bytes(words)
                bundle = _verified_folder(temporary)
                temporary.replace(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return Bundle(target, bundle.manifest)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
def _archive(file: BinaryIO) -> Iterator[tarfile.TarFile]:
    """The archive in `file`; every way in which it can be broken becomes DamagedBundle."""
    size = os.fstat(file.fileno()).st_size
    limit = min(MAX_UNPACKED_BYTES, size * _MAX_RATIO + _FREE_BYTES)
    try:
        with (
            zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file) as stream,
            tarfile.open(fileobj=_Bounded(stream, limit), mode="r|") as archive,
        ):
            yield archive
    except (tarfile.TarError, zstandard.ZstdError, EOFError, UnicodeError) as error:
        raise DamagedBundle(f"the archive is damaged or no {SUFFIX} file: {error}") from error


def _first_member(archive: tarfile.TarFile) -> bytes:
    member = archive.next()
    if member is None or member.name != MANIFEST_NAME or not member.isreg():
        raise DamagedBundle(f"the archive does not begin with {MANIFEST_NAME}: it is no engine bundle")
    if member.size > MAX_MANIFEST_BYTES:
        raise DamagedBundle("manifest.json is larger than 4 MiB")
    content = archive.extractfile(member)
    assert content is not None
    return content.read()


def _unpack(archive: tarfile.TarFile, manifest: Manifest, target: Path) -> None:
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


def _verified_folder(folder: Path) -> Bundle:
    path = folder / MANIFEST_NAME
    if path.is_symlink() or not path.is_file():
        raise DamagedBundle(f"{folder} has no {MANIFEST_NAME}: it is no engine bundle")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise DamagedBundle("manifest.json is larger than 4 MiB")
    manifest = read_manifest(path.read_bytes())
    found = set(_walk(folder)) - {MANIFEST_NAME}
    for name in sorted(set(manifest.files) - found):
        raise DamagedBundle(f"{name} is missing")
    for name in sorted(found - set(manifest.files)):
        raise DamagedBundle(f"{name} is not named by the manifest")
    for name, wanted in manifest.files.items():
        if _sha256(folder / name) != wanted:
            raise DamagedBundle(f"{name} was changed or damaged: its sha256 is not the manifest's")
    return Bundle(folder, manifest)


def _walk(folder: Path) -> list[str]:
    """Every plain file under `folder` by name, sorted; links and devices are refused."""
    names: list[str] = []
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            mode = path.lstat().st_mode
            name = path.relative_to(folder).as_posix()
            if stat.S_ISDIR(mode):
                waiting.append(path)
            elif stat.S_ISREG(mode):
                names.append(name)
            else:
                raise DamagedBundle(f"{name} is a link or a device: a bundle has plain files only")
        if len(names) > MAX_FILES + 1:
            raise DamagedBundle(f"{folder} has more than {MAX_FILES} files")
    return sorted(names)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
