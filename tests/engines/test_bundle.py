"""Engine bundles: the same bytes for the same files, whole or refused with the reason, unpacked once."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lineside.engines import archive as archives
from lineside.engines.bundle import open_bundle, verify_bundle, write_bundle
from lineside.engines.errors import DamagedBundle, IncompatibleBundle
from lineside.engines.manifest import check_name, read_manifest

FIELDS: dict[str, Any] = {
    "name": "test-engine",
    "version": "1.2.0",
    "licence": "Apache-2.0",
    "precision": "fp32",
    "source": {"model": "random", "revision": "seed 1"},
    "context_tokens": 128,
    "builds": {
        "onnx": {"vision": "onnx/vision.onnx", "decoder": "onnx/decoder.onnx", "dialect": "onnxruntime"}
    },
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "onnx").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        (folder / name).write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "onnx" / "vision.onnx").write_bytes(bytes(range(256)) * 40)
    (folder / "onnx" / "decoder.onnx").write_bytes(os.urandom(300_000))
    return folder


def packed(members: list[tuple[tarfile.TarInfo, bytes]], out: Path) -> Path:
    """An archive of exactly these members."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    out.write_bytes(zstandard.compress(raw.getvalue()))
    return out


def members_of(files: Path, **fields: object) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The members of a good archive, manifest first."""
    names = sorted(path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file())
    data = {name: (files / name).read_bytes() for name in names}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in data.items()}
    manifest = json.dumps(FIELDS | {"format": 1, "files": digests} | fields).encode()
    return [(tarfile.TarInfo(name), content) for name, content in {"manifest.json": manifest, **data}.items()]


def test_a_folder_and_an_archive_are_the_same_bundle(files: Path, tmp_path: Path) -> None:
    digest = write_bundle(files, FIELDS, tmp_path / "engine")
    assert write_bundle(files, FIELDS, tmp_path / "engine.lsengine") == digest
    cache = tmp_path / "cache"
    for path in (tmp_path / "engine", tmp_path / "engine.lsengine"):
        bundle = open_bundle(path, cache)
        assert bundle.manifest.digest == digest
        assert bundle.manifest.name == "test-engine"
        assert bundle.path("onnx/decoder.onnx").read_bytes() == (files / "onnx/decoder.onnx").read_bytes()
        assert hashlib.sha256(bundle.path("manifest.json").read_bytes()).hexdigest() == digest
    assert (cache / digest).is_dir()


def test_the_same_files_give_the_same_bytes_whenever_and_by_whomever(files: Path, tmp_path: Path) -> None:
    write_bundle(files, FIELDS, tmp_path / "one.lsengine")
    for path in files.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    write_bundle(files, dict(reversed(FIELDS.items())), tmp_path / "two.lsengine")
    assert (tmp_path / "one.lsengine").read_bytes() == (tmp_path / "two.lsengine").read_bytes()


def test_writing_again_replaces_a_bundle_whole_and_leaves_nothing_beside_it(
    files: Path, tmp_path: Path
) -> None:
    for out in (tmp_path / "out" / "engine", tmp_path / "out" / "engine.lsengine"):
        write_bundle(files, FIELDS, out)
        write_bundle(files, FIELDS | {"version": "2.0.0"}, out)
        assert verify_bundle(out).version == "2.0.0"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["engine", "engine.lsengine"]


def test_a_failed_write_leaves_the_old_bundle(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "engine.lsengine"
    write_bundle(files, FIELDS, out)
    before = out.read_bytes()
    (files / "link").symlink_to(files / "config.json")
    with pytest.raises(DamagedBundle, match="link"):
        write_bundle(files, FIELDS, out)
    (files / "link").unlink()
    with pytest.raises(DamagedBundle, match="licence"):
        write_bundle(files, FIELDS | {"licence": ""}, out)
    assert out.read_bytes() == before


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "config.json").write_text("{} "), "config.json was changed"),
        (lambda f: (f / "onnx/vision.onnx").unlink(), "onnx/vision.onnx is missing"),
        (lambda f: (f / "onnx/more.bin").write_text(""), "onnx/more.bin is not named"),
        (lambda f: (f / "onnx/more").symlink_to("/etc/passwd"), "onnx/more is a link"),
        (lambda f: (f / "onnx/more").symlink_to(f / "onnx"), "onnx/more is a link"),
        (lambda f: os.mkfifo(f / "pipe"), "pipe is a link or a device"),
        (lambda f: (f / "manifest.json").unlink(), "no engine bundle"),
        (lambda f: (f / "manifest.json").write_text("{"), "not JSON"),
        (lambda f: (f / "manifest.json").write_text("[]"), "not an object"),
        (lambda f: (f / "manifest.json").write_bytes(b" " * (5 << 20)), "4 MiB"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_reason(
    files: Path, tmp_path: Path, damage: Damage, says: str
) -> None:
    write_bundle(files, FIELDS, tmp_path / "engine")
    damage(tmp_path / "engine")
    with pytest.raises(DamagedBundle, match=says):
        open_bundle(tmp_path / "engine", tmp_path / "cache")


def linked(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("onnx/link")
    member.type = kind
    member.linkname = "/etc/passwd"
    return member


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ((tarfile.TarInfo("../outside"), b"x"), "leaves the bundle"),
        ((tarfile.TarInfo("/etc/outside"), b"x"), "leaves the bundle"),
        ((tarfile.TarInfo("onnx/../../outside"), b"x"), "leaves the bundle"),
        ((tarfile.TarInfo("onnx/unnamed"), b"x"), "not named"),
        ((tarfile.TarInfo("config.json"), b"{}"), "comes twice"),
        ((linked(tarfile.SYMTYPE), b""), "link"),
        ((linked(tarfile.LNKTYPE), b""), "link"),
        ((linked(tarfile.FIFOTYPE), b""), "device"),
    ],
)
def test_an_archive_with_what_does_not_belong_is_refused_and_writes_nothing_outside(
    files: Path, tmp_path: Path, extra: tuple[tarfile.TarInfo, bytes], says: str
) -> None:
    path = packed([*members_of(files), extra], tmp_path / "bad.lsengine")
    with pytest.raises(DamagedBundle, match=says):
        open_bundle(path, tmp_path / "cache")
    assert [entry.suffix for entry in (tmp_path / "cache").iterdir()] == [".lock"]
    assert not (tmp_path / "outside").exists()


def test_an_archive_without_a_named_file_is_refused(files: Path, tmp_path: Path) -> None:
    path = packed(members_of(files)[:-1], tmp_path / "bad.lsengine")
    with pytest.raises(DamagedBundle, match="missing"):
        open_bundle(path, tmp_path / "cache")


def test_an_archive_with_a_changed_file_is_refused(files: Path, tmp_path: Path) -> None:
    members = members_of(files)
    members[-1] = (members[-1][0], members[-1][1] + b" ")
    with pytest.raises(DamagedBundle, match="was changed"):
        open_bundle(packed(members, tmp_path / "bad.lsengine"), tmp_path / "cache")


@given(share=st.floats(0, 0.999), flip=st.booleans())
def test_a_cut_or_scratched_archive_is_refused_or_still_what_was_sealed(
    share: float, flip: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("cut")
    (place / "files" / "onnx").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json", "chat_template.jinja"):
        (place / "files" / name).write_text("{}")
    for name in ("vision", "decoder"):
        (place / "files" / "onnx" / f"{name}.onnx").write_bytes(os.urandom(2000))
    path = place / "engine.lsengine"
    digest = write_bundle(place / "files", FIELDS, path)
    data = bytearray(path.read_bytes())
    at = int(share * len(data))
    if flip:
        data[at] ^= 0x55
    path.write_bytes(data if flip else data[:at])
    try:
        found = verify_bundle(path)
    except (DamagedBundle, IncompatibleBundle):
        return
    # A few bytes of an archive's wrapping say nothing about the files.
    assert found.digest == digest


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_an_archive_cut_in_the_middle_is_refused(files: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "engine.lsengine"
    write_bundle(files, FIELDS, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DamagedBundle):
        verify_bundle(path)


def test_what_is_no_archive_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.lsengine").write_bytes(b"PK\x03\x04 a zip")
    (tmp_path / "b.lsengine").write_bytes(zstandard.compress(b"not a tar" * 1000))
    (tmp_path / "c.lsengine").write_bytes(b"")
    for name in ("a.lsengine", "b.lsengine", "c.lsengine", "no such file"):
        with pytest.raises(DamagedBundle):
            verify_bundle(tmp_path / name)


def test_a_decompression_bomb_is_refused_before_it_fills_the_disk(files: Path, tmp_path: Path) -> None:
    (files / "onnx" / "zeros.data").write_bytes(bytes(200 << 20))
    path = packed(members_of(files), tmp_path / "bomb.lsengine")
    (files / "onnx" / "zeros.data").unlink()
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DamagedBundle, match="far more"):
        open_bundle(path, tmp_path / "cache")
    assert [entry.suffix for entry in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_newer_format_is_incompatible_not_damaged(files: Path, tmp_path: Path) -> None:
    path = packed(members_of(files, format=2), tmp_path / "new.lsengine")
    with pytest.raises(IncompatibleBundle, match=r"format 2.*update"):
        open_bundle(path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "1"}, "format version"),
        ({"name": 3}, "no name"),
        ({"files": {"config.json": "00"}}, "sha256"),
        ({"files": {"../x": "0" * 64}}, "leaves the bundle"),
        ({"files": {"manifest.json": "0" * 64}}, "name itself"),
        ({"files": {}}, "no config.json"),
        ({"builds": {}}, "no builds"),
        ({"builds": {"onnx": {"decoder": "other.onnx", "dialect": "onnxruntime"}}}, "not among the files"),
        ({"context_tokens": 0}, "context_tokens"),
        ({"scope": {}}, "scope"),
        ({"scope": [{"kind": "choice"}]}, "no instruction"),
        ({"card": []}, "card"),
    ],
)
def test_a_manifest_that_says_too_little_is_refused(files: Path, change: dict[str, Any], says: str) -> None:
    good = json.loads(members_of(files)[0][1])
    with pytest.raises(DamagedBundle, match=says):
        read_manifest(json.dumps(good | change).encode())


@given(st.text(max_size=40))
def test_a_file_name_that_passes_stays_inside_the_folder(name: str) -> None:
    try:
        check_name(name)
    except DamagedBundle:
        return
    root = Path("/bundle")
    assert os.path.normpath(root / name) == str(root / name)
    assert name.isascii()


def test_an_unpacked_bundle_is_used_again_and_mended_when_the_disk_lost_some(
    files: Path, tmp_path: Path
) -> None:
    path, cache = tmp_path / "engine.lsengine", tmp_path / "cache"
    digest = write_bundle(files, FIELDS, path)
    first = open_bundle(path, cache)
    kept = first.path("config.json").stat().st_ino
    assert open_bundle(path, cache).path("config.json").stat().st_ino == kept
    first.path("onnx/decoder.onnx").write_bytes(b"lost")
    assert open_bundle(path, cache).path("onnx/decoder.onnx").stat().st_size == 300_000
    assert (cache / digest).is_dir()


def test_a_half_unpacked_leftover_is_cleared(files: Path, tmp_path: Path) -> None:
    path, cache = tmp_path / "engine.lsengine", tmp_path / "cache"
    digest = write_bundle(files, FIELDS, path)
    leftover = cache / f".{digest}-killed"
    leftover.mkdir(parents=True)
    (leftover / "config.json").write_text("{")
    open_bundle(path, cache)
    names = {entry.name for entry in cache.iterdir()} - {"verified"}
    assert names == {digest, f"{digest}.lock"}


OPENER = "import sys; from pathlib import Path; from lineside.engines.bundle import open_bundle\n" + (
    "print(open_bundle(Path(sys.argv[1]), Path(sys.argv[2])).folder)"
)


def test_processes_that_unpack_at_once_share_one_folder(files: Path, tmp_path: Path) -> None:
    path, cache = tmp_path / "engine.lsengine", tmp_path / "cache"
    digest = write_bundle(files, FIELDS, path)
    command = [sys.executable, "-c", OPENER, str(path), str(cache)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    folders = {process.communicate(timeout=120)[0].strip() for process in running}
    assert folders == {str(cache / digest)}
    assert all(process.returncode == 0 for process in running)
    verify_bundle(cache / digest)


def test_a_process_killed_while_unpacking_leaves_a_cache_that_opens(files: Path, tmp_path: Path) -> None:
    path, cache = tmp_path / "engine.lsengine", tmp_path / "cache"
    write_bundle(files, FIELDS, path)
    killer = (
        "import os, signal; from lineside.engines import archive\n"
        "real = archive.check_name\n"
        "def check(name):\n"
        "    if name == 'onnx/decoder.onnx': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(name)\n"
        "archive.check_name = check\n"
    )
    died = subprocess.run([sys.executable, "-c", killer + OPENER, str(path), str(cache)], timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert any(entry.name.startswith(".") for entry in cache.iterdir())
    assert open_bundle(path, cache).manifest.version == "1.2.0"
    assert not any(entry.name.startswith(".") for entry in cache.iterdir())


def test_texts_and_objects_of_a_bundle_are_read_or_refused(files: Path, tmp_path: Path) -> None:
    (files / "list.json").write_text("[]")
    (files / "bad.json").write_bytes(b"\xff")
    write_bundle(files, FIELDS, tmp_path / "engine")
    bundle = open_bundle(tmp_path / "engine", tmp_path / "cache")
    assert bundle.json("config.json") == {}
    assert bundle.has("list.json")
    assert not bundle.has("nothing.json")
    for name, says in (
        ("list.json", "not a JSON object"),
        ("bad.json", "UTF-8"),
        ("chat_template.jinja", "not JSON"),
    ):
        with pytest.raises(DamagedBundle, match=says):
            bundle.json(name)


def test_the_limit_on_an_archive_is_above_any_engine_we_ship() -> None:
    assert archives.MAX_UNPACKED_BYTES >= 40 << 30
