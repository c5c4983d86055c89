"""Writing, verifying, amending and opening engine bundles: folders, or `.lsengine` archives of the same.

Nothing of a bundle is used before all of it is verified. Knows files and hashes; does not know graphs,
runtimes, or who may sign a bundle.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineside.engines import archive as archives
from lineside.engines.archive import SUFFIX
from lineside.engines.durable import replace_text, sync_file, sync_folder
from lineside.engines.errors import DamagedBundle
from lineside.engines.manifest import (
    FORMAT,
    MANIFEST_NAME,
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    Manifest,
    check_name,
    read_manifest,
    written,
)
from lineside.engines.verification import VerificationRecords, fingerprint

Fields = Callable[[Manifest], Mapping[str, object]]
Admit = Callable[[Manifest], None]
"""Raises where a bundle may not be used, whatever its files hold; asked before unpacking or hashing."""


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
    names, data = _described(folder, manifest_fields)
    manifest = read_manifest(data)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == SUFFIX:
        archives.write_archive(folder, names, data, out)
    else:
        _write_folder(folder, names, data, out, link=False)
    return manifest.digest


def seal_folder(folder: Path, manifest_fields: Mapping[str, object]) -> Bundle:
    """Makes a folder's files a bundle where they are, for a builder that wants to open it before it ships it.

    Raises:
        DamagedBundle: as `write_bundle` does.
    """
    _, data = _described(folder, manifest_fields)
    manifest = read_manifest(data)
    (folder / MANIFEST_NAME).write_bytes(data)
    return Bundle(folder, manifest)


def _described(folder: Path, fields: Mapping[str, object]) -> tuple[list[str], bytes]:
    names = [name for name in _walk(folder) if name != MANIFEST_NAME]
    files = {check_name(name): _sha256(folder / name) for name in names}
    return names, written({**fields, "format": FORMAT, "files": files})


def amend_bundle(path: Path, fields: Fields, files: Mapping[str, bytes] | None = None) -> str:
    """Gives a finished bundle further `files` and manifest fields (from its manifest); gives its new digest.

    The bundle is verified first, and replaced only when the new one is whole. A signature that was there
    goes, unless `fields` bring one: it was for another content. Large files are linked or copied as they are,
    not packed again, where that can be helped.

    Raises:
        DamagedBundle, IncompatibleBundle: the bundle does not verify, or would not afterwards.
    """
    if path.is_dir():
        return _amend_folder(_verified_folder(path), fields, files or {})
    # Beside the bundle: the system's temporary folder may be too small for what it unpacks to.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as place:
        bundle = open_bundle(path, Path(place))
        data, manifest = _amended(bundle, fields, files or {})
        if files or not archives.replace_manifest(path, data):
            for name, content in (files or {}).items():
                _add(bundle.folder, name, content)
            archives.write_archive(bundle.folder, sorted(manifest.files), data, path)
    return manifest.digest


def _amend_folder(bundle: Bundle, fields: Fields, files: Mapping[str, bytes]) -> str:
    data, manifest = _amended(bundle, fields, files)
    if not files:
        replace_text(bundle.folder / MANIFEST_NAME, data)
        return manifest.digest
    with tempfile.TemporaryDirectory(prefix=f".{bundle.folder.name}-", dir=bundle.folder.parent) as place:
        for name, content in files.items():
            _add(Path(place), name, content)
        _write_folder(bundle.folder, sorted(manifest.files), data, bundle.folder, link=True, over=Path(place))
    return manifest.digest


def _amended(bundle: Bundle, fields: Fields, files: Mapping[str, bytes]) -> tuple[bytes, Manifest]:
    raw = json.loads((bundle.folder / MANIFEST_NAME).read_bytes())
    raw.pop("signature", None)
    digests = {check_name(name): hashlib.sha256(content).hexdigest() for name, content in files.items()}
    data = written({**raw, **fields(bundle.manifest), "files": {**raw["files"], **digests}})
    return data, read_manifest(data)


def _add(folder: Path, name: str, content: bytes) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(content)


def _write_folder(
    folder: Path, names: list[str], manifest: bytes, out: Path, *, link: bool, over: Path | None = None
) -> None:
    """`link`: files may be the same as in `folder`, not copies. `over`: where a name is taken from first."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    old: Path | None = None
    try:
        for name in names:
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if over is not None and (over / name).is_file():
                shutil.copyfile(over / name, target)
            else:
                _bring(folder / name, target, link=link)
            sync_file(target)
        (temporary / MANIFEST_NAME).write_bytes(manifest)
        sync_file(temporary / MANIFEST_NAME)
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
    sync_folder(out.parent)


def _bring(source: Path, target: Path, *, link: bool) -> None:
    if link:
        try:
            os.link(source, target)
            return
        except OSError:
            pass  # a file system without links: a copy does as well, only slower
    shutil.copyfile(source, target)


def verify_bundle(path: Path, admit: Admit | None = None) -> Manifest:
    """Verifies a bundle, folder or archive, in a place of its own, and gives its manifest.

    Every file is hashed, whatever was verified before.

    Raises:
        DamagedBundle, IncompatibleBundle: with the reason.
    """
    if path.is_dir():
        return _verified_folder(path, admit).manifest
    with tempfile.TemporaryDirectory(prefix="lineside-verify-") as place:
        return open_bundle(path, Path(place), admit).manifest


def peek_manifest(path: Path) -> Manifest:
    """A bundle's manifest, its files unverified: for what is only shown.

    Raises:
        DamagedBundle, IncompatibleBundle: it has none that can be read.
    """
    if path.is_dir():
        return _folder_manifest(path)
    _check_there(path)
    with path.open("rb") as file, archives.reading(file) as archive:
        return read_manifest(archives.first_member(archive))


def open_bundle(path: Path, cache: Path, admit: Admit | None = None) -> Bundle:
    """Verifies a bundle and gives it as a folder; an archive is unpacked once under `cache`, by its digest.

    Files that were verified before and have not changed since are not hashed again (see `verification.py`).
    Safe with other processes that unpack at the same time, and after one that was killed while it did.

    Raises:
        DamagedBundle, IncompatibleBundle: with the reason; and what `admit` raises.
    """
    records = VerificationRecords(cache / "verified")
    if path.is_dir():
        return _verified_folder(path, admit, records)
    _check_there(path)
    with path.open("rb") as file, archives.reading(file) as archive:
        words = archives.first_member(archive)
        manifest = read_manifest(words)
        if admit is not None:
            admit(manifest)
        target = cache / manifest.digest
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{manifest.digest}.lock"):
            if target.is_dir():
                try:
                    return Bundle(_verified_folder(target, None, records).folder, manifest)
                except DamagedBundle:
                    shutil.rmtree(target)  # a disk that lost some of it: the archive still has all
            for leftover in cache.glob(f".{manifest.digest}-*"):
                shutil.rmtree(leftover)
            temporary = Path(tempfile.mkdtemp(prefix=f".{manifest.digest}-", dir=cache))
            try:
                archives.unpack(archive, manifest, temporary)
                (temporary / MANIFEST_NAME).write_bytes(words)
                bundle = _verified_folder(temporary)
                temporary.replace(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return Bundle(target, bundle.manifest)


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise DamagedBundle(f"{path} is no bundle: there is no such file or folder")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _folder_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    if path.is_symlink() or not path.is_file():
        raise DamagedBundle(f"{folder} has no {MANIFEST_NAME}: it is no engine bundle")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise DamagedBundle("manifest.json is larger than 4 MiB")
    return read_manifest(path.read_bytes())


def _verified_folder(
    folder: Path, admit: Admit | None = None, records: VerificationRecords | None = None
) -> Bundle:
    manifest = _folder_manifest(folder)
    if admit is not None:
        admit(manifest)
    found = set(_walk(folder)) - {MANIFEST_NAME}
    for name in sorted(set(manifest.files) - found):
        raise DamagedBundle(f"{name} is missing")
    for name in sorted(found - set(manifest.files)):
        raise DamagedBundle(f"{name} is not named by the manifest")
    if records is not None and records.holds(folder, manifest.digest, manifest.files):
        return Bundle(folder, manifest)
    before = fingerprint(folder, manifest.files)
    for name, wanted in manifest.files.items():
        if _sha256(folder / name) != wanted:
            raise DamagedBundle(f"{name} was changed or damaged: its sha256 is not the manifest's")
    if records is not None and fingerprint(folder, manifest.files) == before:
        records.keep(folder, manifest.digest, before)
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
