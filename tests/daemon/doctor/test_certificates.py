"""What doctor says of the certificate that gRPC serves with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lineside.daemon.doctor.base import Finding, Level, Subject
from lineside.daemon.doctor.checks.certificates import CertificatesCheck
from lineside.daemon.pki import files
from lineside.daemon.pki.authority import Authority
from lineside.daemon.pki.device import DeviceKeys, Enrolment
from lineside.daemon.pki.identity import Identity

TLS = "grpc: {listen: '0.0.0.0:50051', tls: {}}"


@pytest.fixture
def look(device: Callable[..., Subject], tmp_path: Path) -> Callable[..., list[Finding]]:
    def run(days_ago: int | None, url: str = "https://fleet:8443") -> list[Finding]:
        subject = device(more=TLS)
        keys = DeviceKeys.under(subject.known.device.data_dir, "box1")
        keys.ensure()
        now = subject.clock.now()
        if days_ago is not None:
            then = now - timedelta(days=days_ago)
            authority = Authority.create(tmp_path / "ca", "north", then)
            leaf = authority.sign(
                files.request_in(keys.request_text()), Identity("north", "device", "box1"), then
            )
            own = files.pem(authority.certificate).decode()
            given = Enrolment(files.pem(leaf).decode(), own, "north")
            keys.install(given, url, then)
        return list(CertificatesCheck().run(subject))

    return run


def levels(found: list[Finding], word: str) -> list[Level]:
    return [one.level for one in found if word in one.message]


def test_a_fresh_certificate_of_a_fleet_is_well(look) -> None:
    found = look(1)
    assert {one.level for one in found} == {Level.OK}
    assert levels(found, "renewed by https://fleet") == [Level.OK]


def test_one_that_should_have_been_renewed_is_a_warning(look) -> None:
    assert levels(look(65), "should have been renewed") == [Level.WARNING]


def test_one_that_is_over_is_a_failure(look) -> None:
    assert levels(look(91), "expired") == [Level.FAILED]


def test_one_that_was_brought_by_hand_is_renewed_by_nobody(look) -> None:
    assert levels(look(1, url=""), "by hand") == [Level.WARNING]


def test_without_one_the_next_step_is_to_enrol(look) -> None:
    (finding,) = (one for one in look(None) if "belongs to no fleet" in one.message)
    assert finding.level is Level.FAILED
    assert "lineside enroll" in finding.next_step
