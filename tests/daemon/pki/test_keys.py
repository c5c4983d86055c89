"""Keys are their owner's alone, and an authority decides what stands in a certificate."""

from __future__ import annotations

import contextlib
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.pki import files
from lineside.daemon.pki.authority import Authority
from lineside.daemon.pki.device import DeviceKeys, Enrolment, due
from lineside.daemon.pki.files import PkiError
from lineside.daemon.pki.identity import KINDS, BadIdentity, Identity, Role, identity_of, parse_identity

WORD = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


def request_of(name: str = "anybody") -> x509.CertificateSigningRequest:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://north/lineside/admin/eve")])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def test_the_first_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    keys = DeviceKeys.under(tmp_path, "box7")
    assert keys.ensure()
    assert stat.S_IMODE(keys.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.key.parent.stat().st_mode) == 0o700
    first = keys.key.read_bytes()
    assert not keys.ensure()
    assert keys.key.read_bytes() == first


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_may_read_is_not_used(tmp_path: Path, mode: int) -> None:
    keys = DeviceKeys.under(tmp_path, "box7")
    keys.ensure()
    keys.key.chmod(mode)
    with pytest.raises(PkiError, match="chmod 600"):
        keys.ensure()


def test_a_broken_key_is_not_quoted(tmp_path: Path) -> None:
    keys = DeviceKeys.under(tmp_path, "box7")
    keys.key.parent.mkdir()
    keys.key.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n")
    keys.key.chmod(0o600)
    with pytest.raises(PkiError) as refused:
        keys.ensure()
    assert "c2VjcmV0" not in str(refused.value)


def test_the_names_in_a_request_count_for_nothing(authority: Authority, clock) -> None:
    leaf = authority.sign(request_of(), Identity("north", "viewer", "bob"), clock.now())
    assert identity_of(leaf).uri == "spiffe://north/lineside/viewer/bob"
    assert "eve" not in str(leaf.extensions)
    assert leaf.subject.rfc4514_string() == "CN=bob"


def test_a_persons_certificate_serves_nothing(authority: Authority, clock) -> None:
    leaf = authority.sign(request_of(), Identity("north", "admin", "anna"), clock.now())
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]


def test_an_authority_is_begun_once(authority: Authority, tmp_path: Path, clock) -> None:
    with pytest.raises(PkiError, match="never overwritten"):
        Authority.create(tmp_path / "ca", "north", clock.now())


@pytest.mark.parametrize("name", ["", "a b", "box;rm", "*.plant", "-x"])
def test_a_name_that_is_none_is_not_signed(authority: Authority, clock, name: str) -> None:
    with pytest.raises(PkiError):
        authority.sign(request_of(), Identity("north", "device", "box7"), clock.now(), names=[name])


def test_a_certificate_for_another_key_is_not_taken(authority: Authority, clock, tmp_path: Path) -> None:
    keys = DeviceKeys.under(tmp_path, "box7")
    keys.ensure()
    leaf = authority.sign(request_of(), Identity("north", "device", "box7"), clock.now())
    ours = files.pem(authority.certificate).decode()
    with pytest.raises(PkiError, match="not for this device's key"):
        keys.install(Enrolment(files.pem(leaf).decode(), ours, "north"), "", clock.now())
    assert not keys.certificate.exists()


def test_a_certificate_of_another_authority_is_not_taken(authority: Authority, clock, tmp_path: Path) -> None:
    keys = DeviceKeys.under(tmp_path, "box7")
    keys.ensure()
    other = Authority.create(tmp_path / "other", "north", clock.now())
    leaf = other.sign(files.request_in(keys.request_text()), Identity("north", "device", "box7"), clock.now())
    ours = files.pem(authority.certificate).decode()
    with pytest.raises(PkiError, match="not signed by"):
        keys.install(Enrolment(files.pem(leaf).decode(), ours, "north"), "", clock.now())


def test_a_certificate_is_due_in_its_last_third(clock) -> None:
    begins = clock.now()
    life = (begins, begins + timedelta(days=90))
    assert not due(life, begins + timedelta(days=59))
    assert due(life, begins + timedelta(days=61))
    assert due(life, begins + timedelta(days=100))


@given(fleet=WORD, kind=st.sampled_from(KINDS), name=WORD)
def test_an_identity_comes_back_from_its_uri(fleet: str, kind: str, name: str) -> None:
    identity = Identity(fleet, kind, name)
    assert parse_identity(identity.uri) == identity
    assert (identity.role is None) == (kind in {"device", "service"})


@given(st.text(max_size=80))
def test_no_text_makes_an_identity_by_accident(text: str) -> None:
    with contextlib.suppress(BadIdentity):
        assert parse_identity(text).uri == text


def test_roles_are_a_ladder() -> None:
    ladder = [[role.may(needed) for needed in Role] for role in Role]
    assert ladder == [[i >= j for j in range(4)] for i in range(4)]
