"""A device joins a fleet over real TLS: once, by a token, and only that fleet."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lineside.daemon.pki import files
from lineside.daemon.pki.authority import Authority
from lineside.daemon.pki.device import DeviceKeys
from lineside.daemon.pki.enrol import Token, enrol, read_token, renew
from lineside.daemon.pki.files import PkiError
from lineside.daemon.pki.identity import identity_of
from lineside.daemon.pki.renewal import Renewal

Serve = Callable[..., str]


@pytest.fixture
def keys(tmp_path: Path) -> DeviceKeys:
    made = DeviceKeys.under(tmp_path / "box7", "box7")
    made.ensure()
    return made


def join(url: str, token: str, keys: DeviceKeys, device: str = "box7") -> None:
    given = enrol(url, read_token(token), device, keys.request_text())
    leaf = files.certificates_in(given.certificate)[0]
    keys.install(given, url, leaf.not_valid_before_utc + timedelta(hours=1))


def test_a_token_brings_a_certificate_for_the_devices_own_key(
    authority, server_of: Serve, keys, clock
) -> None:
    token = authority.token("box7", clock.now(), names=["10.0.0.7"])

    join(server_of(authority), token, keys)

    leaf, issuer = files.read_certificates(keys.certificate)
    assert leaf.public_key() == files.read_key(keys.key).public_key()
    assert identity_of(leaf).uri == "spiffe://north/lineside/device/box7"
    assert "10.0.0.7" in str(leaf.extensions)
    assert issuer == authority.certificate
    fleet = keys.fleet()
    assert fleet is not None
    assert fleet.name == "north"


def test_a_token_lets_one_key_in(authority, server_of: Serve, keys, clock, tmp_path: Path) -> None:
    url, token = server_of(authority), authority.token("box7", clock.now())
    join(url, token, keys)
    join(url, token, keys)  # the answer may have been lost on the way

    thief = DeviceKeys.under(tmp_path / "thief", "box7")
    thief.ensure()
    with pytest.raises(PkiError, match="used already"):
        join(url, token, thief)
    assert not thief.certificate.exists()


@pytest.mark.parametrize(
    ("later", "device", "because"),
    [(timedelta(hours=25), "box7", "ended"), (timedelta(0), "box8", "another device")],
)
def test_a_token_is_for_one_device_and_one_day(
    authority, server_of: Serve, keys, clock, later: timedelta, device: str, because: str
) -> None:
    url, token = server_of(authority), authority.token("box7", clock.now())
    clock.ahead = later
    with pytest.raises(PkiError, match=because):
        join(url, token, keys, device)


def test_a_token_that_was_never_given_out_lets_nobody_in(authority, server_of: Serve, keys) -> None:
    url = server_of(authority)
    with pytest.raises(PkiError, match="no such token"):
        enrol(url, Token(authority.fingerprint, "ab" * 16), "box7", keys.request_text())


def test_nothing_is_sent_to_a_server_of_another_authority(
    authority, server_of: Serve, keys, clock, tmp_path: Path
) -> None:
    other = Authority.create(tmp_path / "other", "north", clock.now())
    theirs = other.token("box7", clock.now())
    with pytest.raises(PkiError, match="another authority"):
        join(server_of(authority), theirs, keys)
    assert json.loads(next((tmp_path / "other" / "tokens").iterdir()).read_bytes())["used_by"] is None


def test_a_server_under_a_foreign_name_is_not_believed(authority, server_of: Serve, keys, clock) -> None:
    url = server_of(authority, "fleet.plant.example")
    with pytest.raises(PkiError, match="not believed"):
        join(url, authority.token("box7", clock.now()), keys)


def test_a_certificate_is_renewed_in_its_last_third_and_not_before(
    authority, server_of: Serve, keys, clock
) -> None:
    url = server_of(authority)
    join(url, authority.token("box7", clock.now(), names=["box7.plant"]), keys)
    first = files.read_certificates(keys.certificate)[0]
    renewal = Renewal(keys, clock)

    clock.ahead = timedelta(days=59)
    assert not renewal.look()
    clock.ahead = timedelta(days=61)
    assert renewal.look()

    second = files.read_certificates(keys.certificate)[0]
    assert second.serial_number != first.serial_number
    assert second.not_valid_after_utc > first.not_valid_after_utc + timedelta(days=60)
    assert second.public_key() == first.public_key()
    assert "box7.plant" in str(second.extensions)


def test_a_renewal_that_fails_leaves_the_present_certificate(
    authority, keys, clock, server_of: Serve
) -> None:
    join(server_of(authority), authority.token("box7", clock.now()), keys)
    before = keys.certificate.read_bytes()

    def away(url: str, keys: DeviceKeys) -> None:
        raise PkiError("cannot be reached")

    clock.ahead = timedelta(days=70)
    with pytest.raises(PkiError):
        Renewal(keys, clock, ask=away).look()  # type: ignore[arg-type]
    assert keys.certificate.read_bytes() == before


def test_nobody_renews_without_the_present_certificate(authority, server_of: Serve, keys, clock) -> None:
    url = server_of(authority)
    context = ssl.create_default_context(cadata=files.pem(authority.certificate).decode())
    connection = http.client.HTTPSConnection("localhost", int(url.rpartition(":")[2]), context=context)
    connection.request("POST", "/v1/renew", json.dumps({"csr": keys.request_text()}))
    answer = connection.getresponse()
    assert answer.status == 400
    assert "present certificate" in json.loads(answer.read())["error"]["message"]
    connection.close()


def test_a_person_does_not_become_a_device_by_renewing(authority, server_of: Serve, keys, clock) -> None:
    from lineside.daemon.pki.identity import Identity

    request = files.request_in(keys.request_text())
    leaf = authority.sign(request, Identity("north", "admin", "anna"), clock.now())
    files.replace(keys.certificate, files.pem(leaf, authority.certificate))
    files.replace(keys.authority, files.pem(authority.certificate))
    with pytest.raises(PkiError, match="only devices"):
        renew(server_of(authority), keys)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 5000, b'{"token": 1}', b'{"token": "a"}'])
def test_a_request_that_is_none_is_refused_and_the_server_goes_on(
    authority, server_of: Serve, body: bytes
) -> None:
    url = server_of(authority)
    context = ssl.create_default_context(cadata=files.pem(authority.certificate).decode())
    connection = http.client.HTTPSConnection("localhost", int(url.rpartition(":")[2]), context=context)
    connection.request("POST", "/v1/enrol", body)
    answer = connection.getresponse()
    assert answer.status == 400
    assert json.loads(answer.read())["error"]["code"] == "BAD_REQUEST"
    connection.request("GET", "/v1/ca")
    assert connection.getresponse().read() == files.pem(authority.certificate)
    connection.close()


@pytest.mark.parametrize("text", ["", "hunter2", "ab.cd", "zz" * 32 + ".00", "ab" * 32 + "."])
def test_what_is_no_token_is_not_quoted(text: str) -> None:
    with pytest.raises(PkiError) as refused:
        read_token(text)
    assert not text or text not in str(refused.value)
