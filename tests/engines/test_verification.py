"""Records of what was verified: they save the hashing, and never let a changed file through."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_engine

from lineside.engines import bundle as bundles
from lineside.engines import verification
from lineside.engines.bundle import open_bundle, verify_bundle
from lineside.engines.errors import DamagedBundle


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files as they are hashed; files count as at rest as soon as they are written."""
    names: list[str] = []
    real: Callable[[Path], str] = bundles._sha256

    def counting(path: Path) -> str:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(bundles, "_sha256", counting)
    monkeypatch.setattr(verification, "SETTLED_NS", 0)
    return names


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    return tiny_engine.build(checkpoint, tmp_path / "engine")


def test_a_second_open_hashes_nothing(folder: Path, tmp_path: Path, hashed: list[str]) -> None:
    first = open_bundle(folder, tmp_path / "cache")
    assert len(hashed) >= len(first.manifest.files)
    hashed.clear()
    assert open_bundle(folder, tmp_path / "cache") == first
    assert hashed == []


def test_verify_hashes_every_time(folder: Path, tmp_path: Path, hashed: list[str]) -> None:
    open_bundle(folder, tmp_path / "cache")
    hashed.clear()
    manifest = verify_bundle(folder)
    assert len(hashed) == len(manifest.files)


def test_an_unpacked_archive_is_hashed_once_more_and_then_known(
    checkpoint: Path, tmp_path: Path, hashed: list[str]
) -> None:
    archive = tiny_engine.build(checkpoint, tmp_path / "engine.lsengine")
    for _ in range(2):
        open_bundle(archive, tmp_path / "cache")
    hashed.clear()
    open_bundle(archive, tmp_path / "cache")
    assert hashed == []


def rewritten_with_the_old_times(path: Path) -> None:
    seen = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def replaced_by_another(path: Path) -> None:
    seen = path.stat()
    other = path.with_name("other")
    other.write_bytes(bytes(seen.st_size))
    os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [rewritten_with_the_old_times, replaced_by_another])
def test_a_file_changed_with_the_same_size_and_times_is_found(
    folder: Path, tmp_path: Path, hashed: list[str], change: Callable[[Path], None]
) -> None:
    open_bundle(folder, tmp_path / "cache")
    time.sleep(0.05)  # a tick of the file system's clock
    change(folder / "onnx" / "decoder.onnx")
    with pytest.raises(DamagedBundle, match=r"decoder\.onnx was changed"):
        open_bundle(folder, tmp_path / "cache")


def test_another_manifest_or_another_folder_is_not_vouched_for(
    folder: Path, tmp_path: Path, hashed: list[str]
) -> None:
    open_bundle(folder, tmp_path / "cache")
    hashed.clear()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"version": "2"}))
    assert open_bundle(folder, tmp_path / "cache").manifest.version == "2"
    assert hashed != []
    hashed.clear()
    open_bundle(folder.rename(tmp_path / "moved"), tmp_path / "cache")
    assert hashed != []


def test_what_was_written_just_now_is_not_recorded(folder: Path, tmp_path: Path) -> None:
    os.utime(folder / "config.json", ns=(time.time_ns() + 10**12, time.time_ns() + 10**12))
    open_bundle(folder, tmp_path / "cache")
    assert not (tmp_path / "cache" / "verified").exists()


def test_a_record_that_somebody_else_may_have_written_does_not_count(
    folder: Path, tmp_path: Path, hashed: list[str]
) -> None:
    open_bundle(folder, tmp_path / "cache")
    record = next((tmp_path / "cache" / "verified").iterdir())
    assert record.stat().st_mode & 0o777 == 0o600
    for spoil in (lambda: record.chmod(0o666), lambda: record.write_text("{")):
        spoil()
        hashed.clear()
        open_bundle(folder, tmp_path / "cache")
        assert hashed != []


def test_a_cache_that_cannot_be_written_only_costs_time(
    folder: Path, tmp_path: Path, hashed: list[str]
) -> None:
    (tmp_path / "cache").write_text("a file, where a folder should be")
    first = open_bundle(folder, tmp_path / "cache")
    assert open_bundle(folder, tmp_path / "cache") == first
