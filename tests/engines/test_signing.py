"""Signed bundles: who vouches for an engine, and what is refused when nobody does."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import tiny_engine
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lineside.engines.bundle import amend_bundle, open_bundle, verify_bundle
from lineside.engines.errors import DamagedBundle, UntrustedBundle
from lineside.engines.manifest import read_manifest, written
from lineside.engines.signing import (
    BadKey,
    NewKey,
    Standing,
    TrustPolicy,
    new_key,
    policy_of,
    private_key,
    public_key,
    sign_bundle,
    trust_policy,
    trusted_keys,
)


@pytest.fixture
def key(tmp_path: Path) -> NewKey:
    return new_key(tmp_path / "keys")


@pytest.fixture
def trust(tmp_path: Path, key: NewKey) -> Path:
    folder = tmp_path / "trust"
    folder.mkdir()
    shutil.copy(key.public, folder)
    return folder


@pytest.fixture(params=["engine", "engine.lsengine"])
def engine(request: pytest.FixtureRequest, checkpoint: Path, tmp_path: Path) -> Path:
    return tiny_engine.build(checkpoint, tmp_path / "made" / request.param)


def test_a_signed_bundle_is_trusted_and_still_the_same_engine(engine: Path, key: NewKey, trust: Path) -> None:
    before = verify_bundle(engine)
    assert sign_bundle(engine, key.private) == key.id
    after = verify_bundle(engine, trust_policy(trust).admit)
    assert trust_policy(trust).standing(after) is Standing.TRUSTED
    assert (after.digest, after.files) == (before.digest, before.files)
    assert [path.name for path in engine.parent.iterdir()] == [engine.name]


def test_signing_an_archive_leaves_the_packed_files_as_they_are(
    checkpoint: Path, tmp_path: Path, key: NewKey
) -> None:
    archive = tiny_engine.build(checkpoint, tmp_path / "engine.lsengine")
    before = archive.read_bytes()
    sign_bundle(archive, key.private)
    after = archive.read_bytes()
    assert after != before
    assert after[-len(before) // 2 :] == before[-len(before) // 2 :]


def test_an_archive_that_was_packed_by_hand_can_be_signed_too(
    bundle: Path, tmp_path: Path, key: NewKey, trust: Path
) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path in [bundle / "manifest.json", *(p for p in bundle.rglob("*") if p.name != "manifest.json")]:
            tar.add(path, path.relative_to(bundle).as_posix(), recursive=False)
    archive = tmp_path / "hand.lsengine"
    archive.write_bytes(zstandard.compress(raw.getvalue()))
    sign_bundle(archive, key.private)
    assert trust_policy(trust).standing(verify_bundle(archive)) is Standing.TRUSTED


def test_without_a_signature_a_machine_with_a_trust_folder_takes_nothing(engine: Path, trust: Path) -> None:
    for asked in (trust_policy(trust), trust_policy(None, require_signature=True)):
        with pytest.raises(UntrustedBundle, match="not signed"):
            verify_bundle(engine, asked.admit)
    for asked in (trust_policy(None), trust_policy(trust, require_signature=False)):
        assert asked.standing(verify_bundle(engine, asked.admit)) is Standing.UNSIGNED


def test_an_unknown_key_is_named_and_refused(engine: Path, key: NewKey, trust: Path, tmp_path: Path) -> None:
    stranger = new_key(tmp_path / "stranger")
    sign_bundle(engine, stranger.private)
    with pytest.raises(UntrustedBundle, match=f"{stranger.id}, which is not trusted"):
        verify_bundle(engine, trust_policy(trust).admit)
    lenient = trust_policy(trust, require_signature=False)
    assert lenient.standing(verify_bundle(engine)) is Standing.UNKNOWN_KEY
    sign_bundle(engine, key.private)
    verify_bundle(engine, trust_policy(trust).admit)


def test_a_manifest_altered_after_signing_is_refused_even_where_none_is_required(
    engine: Path, key: NewKey, trust: Path, tmp_path: Path
) -> None:
    sign_bundle(engine, key.private)
    signature = json.loads((open_bundle(engine, tmp_path / "c").folder / "manifest.json").read_text())
    amend_bundle(engine, lambda _: {"licence": "MIT", "signature": signature["signature"]})
    for required in (True, False):
        with pytest.raises(UntrustedBundle, match="altered after"):
            verify_bundle(engine, trust_policy(trust, required).admit)


def test_a_file_altered_after_signing_is_refused(checkpoint: Path, tmp_path: Path, key: NewKey) -> None:
    folder = tiny_engine.build(checkpoint, tmp_path / "engine")
    sign_bundle(folder, key.private)
    (folder / "config.json").write_text("{}")
    with pytest.raises(DamagedBundle, match=r"config\.json was changed"):
        verify_bundle(folder)
    with pytest.raises(DamagedBundle, match=r"config\.json was changed"):
        sign_bundle(folder, key.private)


def test_amending_a_signed_bundle_takes_the_signature_away(engine: Path, key: NewKey) -> None:
    sign_bundle(engine, key.private)
    amend_bundle(engine, lambda _: {"version": "9"}, {"report.md": b"# measured\n"})
    after = verify_bundle(engine)
    assert after.signature is None
    assert after.version == "9"
    assert "report.md" in after.files


def test_an_untrusted_archive_is_refused_before_it_is_unpacked(
    checkpoint: Path, tmp_path: Path, trust: Path
) -> None:
    archive = tiny_engine.build(checkpoint, tmp_path / "engine.lsengine")
    with pytest.raises(UntrustedBundle):
        open_bundle(archive, tmp_path / "cache", trust_policy(trust).admit)
    assert not (tmp_path / "cache").exists()


def test_an_unpacked_unsigned_copy_does_not_hide_the_signature_of_the_archive(
    checkpoint: Path, tmp_path: Path, key: NewKey, trust: Path
) -> None:
    archive = tiny_engine.build(checkpoint, tmp_path / "engine.lsengine")
    open_bundle(archive, tmp_path / "cache")
    sign_bundle(archive, key.private)
    opened = open_bundle(archive, tmp_path / "cache", trust_policy(trust).admit)
    assert trust_policy(trust).standing(opened.manifest) is Standing.TRUSTED


def test_a_signature_that_is_none_is_refused(bundle: Path, tmp_path: Path) -> None:
    for at, signature in enumerate(
        ("yes", {"algorithm": "rsa"}, {"algorithm": "ed25519", "key": "a", "value": "not base64!"})
    ):
        copy = shutil.copytree(bundle, tmp_path / str(at))
        manifest = json.loads((copy / "manifest.json").read_text())
        (copy / "manifest.json").write_text(json.dumps(manifest | {"signature": signature}))
        with pytest.raises(DamagedBundle, match="signature"):
            verify_bundle(copy)


def test_a_manifest_with_a_key_twice_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text('{"name": "other",' + text.lstrip()[1:])
    with pytest.raises(DamagedBundle, match="twice"):
        verify_bundle(copy)


@given(
    fields=st.dictionaries(
        st.text(max_size=8), st.text(max_size=8) | st.integers() | st.booleans(), max_size=5
    ),
    indent=st.sampled_from([None, 0, 7]),
)
def test_what_is_signed_depends_on_what_a_manifest_says_and_not_on_how_it_is_written(
    bundle: Path, fields: dict[str, object], indent: int | None
) -> None:
    plain = json.loads((bundle / "manifest.json").read_text())
    said = {**plain, "card": fields}
    backwards = dict(reversed(said.items()))
    signature = {"algorithm": "ed25519", "key": "0" * 32, "value": "AA=="}
    found = read_manifest(json.dumps(backwards | {"signature": signature}, indent=indent).encode())
    assert found.canonical == written(said)
    assert found.digest == read_manifest(written(said)).digest
    other = read_manifest(written(said | {"version": "another"}))
    assert other.digest != found.digest


def test_keys_are_files_that_only_their_owner_reads(key: NewKey) -> None:
    assert (key.private.stat().st_mode & 0o777, key.public.stat().st_mode & 0o777) == (0o600, 0o644)
    assert key.private.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(BadKey, match="never overwritten"):
        new_key(key.private.parent)
    key.public.unlink()
    with pytest.raises(BadKey, match="never overwritten"):
        new_key(key.private.parent)
    with pytest.raises(BadKey, match="no name"):
        new_key(key.private.parent, "../elsewhere")


def test_openssl_reads_the_keys_and_agrees_about_the_signature(
    checkpoint: Path, tmp_path: Path, key: NewKey
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    folder = tiny_engine.build(checkpoint, tmp_path / "engine")
    sign_bundle(folder, key.private)
    manifest = verify_bundle(folder)
    assert manifest.signature is not None
    (tmp_path / "words").write_bytes(manifest.canonical)
    (tmp_path / "signature").write_bytes(manifest.signature.value)
    checked = subprocess.run(
        [
            *("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", key.public, "-rawin"),
            *("-in", tmp_path / "words", "-sigfile", tmp_path / "signature"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Verified Successfully" in checked.stdout, checked.stderr


def test_a_private_key_that_others_may_read_is_not_used(key: NewKey) -> None:
    key.private.chmod(0o640)
    with pytest.raises(BadKey, match="chmod 600"):
        private_key(key.private)


def test_what_is_no_key_is_refused(key: NewKey, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.key"
    wrong.write_text("nothing")
    wrong.chmod(0o600)
    for read in (private_key, public_key):
        with pytest.raises(BadKey, match="PEM"):
            read(wrong)
        with pytest.raises(BadKey, match="cannot be read"):
            read(tmp_path / "none")
    key.public.chmod(0o600)
    with pytest.raises(BadKey, match="PEM"):
        private_key(key.public)


def test_a_trust_folder_that_anybody_may_write_to_proves_nothing(trust: Path) -> None:
    assert len(trusted_keys(trust)) == 1
    trust.chmod(0o777)
    with pytest.raises(BadKey, match="anybody may write"):
        trusted_keys(trust)
    trust.chmod(0o755)
    next(trust.iterdir()).chmod(0o666)
    with pytest.raises(BadKey, match="anybody may write"):
        trusted_keys(trust)
    with pytest.raises(BadKey, match="does not exist"):
        trusted_keys(trust / "none")


def test_the_environment_says_what_a_machine_insists_on(trust: Path) -> None:
    assert policy_of({}) == TrustPolicy(None, required=False)
    assert policy_of({"LINESIDE_ENGINE_TRUST": str(trust)}) == TrustPolicy(trust, required=True)
    both = {"LINESIDE_ENGINE_TRUST": str(trust), "LINESIDE_ENGINE_REQUIRE_SIGNATURE": "0"}
    assert policy_of(both) == TrustPolicy(trust, required=False)
    assert policy_of({"LINESIDE_ENGINE_REQUIRE_SIGNATURE": "1"}).required
    with pytest.raises(BadKey, match="0 or 1"):
        policy_of({"LINESIDE_ENGINE_REQUIRE_SIGNATURE": "yes"})
