"""Settings, recipes, engine, cameras, database, ports, certificates and brokers: real files, real sockets."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from doctor_clock import SetClock

from lineside.daemon.commands.doctor import doctor
from lineside.daemon.doctor.base import Finding, Level, Subject, look_at
from lineside.daemon.doctor.checks.broker import BrokerCheck
from lineside.daemon.doctor.checks.cameras import CamerasCheck
from lineside.daemon.doctor.checks.certificates import CertificatesCheck
from lineside.daemon.doctor.checks.database import DatabaseCheck
from lineside.daemon.doctor.checks.engine import EngineCheck
from lineside.daemon.doctor.checks.ports import PortsCheck
from lineside.daemon.doctor.checks.recipes import RecipesCheck
from lineside.daemon.doctor.examine import CHECKS, examine
from lineside.daemon.store import Store

MOSQUITTO = Path("/usr/sbin/mosquitto")
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def levels(findings: list[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


# Cameras


@pytest.mark.parametrize(("level", "expected"), [(90, Level.OK), (0, Level.WARNING)])
def test_a_camera_is_opened_for_one_frame(device, run, tmp_path, level, expected):
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), np.full((48, 64, 3), level, np.uint8))

    (finding,) = run(CamerasCheck(), device(camera="{id: cam1, kind: folder, path: pictures}"))

    assert finding.level is expected
    assert "64x48" in finding.message


def test_a_camera_that_is_not_there_fails_and_says_where_it_was_looked_for(device, run):
    (finding,) = run(CamerasCheck(), device(camera="{id: cam1, kind: v4l2, device: /dev/video99}"))

    assert finding.level is Level.FAILED
    assert "/dev/video99" in finding.message
    assert finding.next_step


def test_a_camera_that_the_daemon_has_is_left_to_it(device, run):
    subject = device(camera="{id: cam1, kind: v4l2}", daemon_runs=True)

    assert levels(run(CamerasCheck(), subject)) == [Level.SKIPPED]


def test_a_password_in_a_camera_address_is_not_shown(device):
    subject = device(camera="{id: cam1, kind: stream, url: 'rtsp://op:hunter2@127.0.0.1:9/x'}")

    said = [str(finding) for finding in examine(subject, [CamerasCheck()])]

    assert said
    assert not any("hunter2" in line for line in said)


# Recipes and engine


def test_a_recipe_that_does_not_hold_is_named_with_its_line(device, run, tmp_path):
    subject = device()
    (tmp_path / "tray.yaml").write_text("recipe: x\nask: []\nfoo: 1\n")

    (finding,) = run(RecipesCheck(), subject)

    assert finding.level is Level.FAILED
    assert "tray.yaml:" in finding.message


def test_a_damaged_engine_fails(device, run, tmp_path):
    (tmp_path / "bad.lsengine").write_bytes(b"no bundle")

    assert levels(run(EngineCheck(), device(more="engine: {bundle: bad.lsengine}"))) == [Level.FAILED]


def test_the_demo_engine_is_whole_but_no_engine_for_real_parts(device, run):
    (finding,) = run(EngineCheck(), device())

    assert finding.level is Level.WARNING
    assert "demonstration" in finding.message


# Database


def test_before_the_first_start_there_is_no_database(device, run):
    assert levels(run(DatabaseCheck(), device())) == [Level.SKIPPED]


def test_a_sound_database_is_said_to_be_sound_also_beside_the_daemon(device, run, tmp_path):
    with Store.open(tmp_path / "data", device="box1", clock=SetClock()):
        subject = device()
        (finding,) = run(DatabaseCheck(), subject)
        assert subject.daemon_runs

    assert finding.level is Level.OK, finding
    assert not device().daemon_runs


def test_a_damaged_database_fails_and_stays_as_it_is(device, run, tmp_path):
    Store.open(tmp_path / "data", device="box1", clock=SetClock()).close()
    file = tmp_path / "data" / "database" / "results.sqlite"
    file.write_bytes(b"\0" * 4096)

    (finding,) = run(DatabaseCheck(), device())

    assert finding.level is Level.FAILED
    assert "damaged" in finding.message
    assert file.read_bytes() == b"\0" * 4096


def test_a_database_that_was_set_aside_is_not_forgotten(device, run, tmp_path):
    (tmp_path / "data" / "database.damaged-20260101T000000.0Z").mkdir(parents=True)

    assert levels(run(DatabaseCheck(), device())) == [Level.WARNING, Level.SKIPPED]


# Ports


def test_a_port_that_somebody_has_fails_unless_it_is_the_daemon(device, run):
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        more = (
            f"grpc: {{listen: '127.0.0.1:{somebody.getsockname()[1]}'}}\nmetrics: {{listen: '127.0.0.1:0'}}"
        )

        assert levels(run(PortsCheck(), device(more=more))) == [Level.FAILED, Level.OK]
        assert levels(run(PortsCheck(), device(more=more, daemon_runs=True))) == [Level.SKIPPED] * 2


# Certificates


def key_and_certificate(folder: Path, ends: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "box1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=365))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    (folder / "box.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "box.key").write_bytes(pem)
    (folder / "box.key").chmod(0o600)


TLS = "mqtt: {brokers: [{host: 127.0.0.1}], tls: {cert_file: box.crt, key_file: box.key}}"


@pytest.mark.parametrize(
    ("days", "expected"), [(300, Level.OK), (29, Level.WARNING), (0, Level.FAILED), (-3, Level.FAILED)]
)
def test_a_certificate_is_warned_of_before_it_ends(device, run, tmp_path, days, expected):
    key_and_certificate(tmp_path, NOW + timedelta(days=days))

    findings = run(CertificatesCheck(), device(more=TLS, clock=SetClock(now=NOW)))

    assert levels(findings) == [expected, Level.OK, Level.OK]


def test_a_key_of_another_certificate_fails(device, run, tmp_path):
    key_and_certificate(tmp_path, NOW + timedelta(days=300))
    certificate = (tmp_path / "box.crt").read_bytes()
    key_and_certificate(tmp_path, NOW + timedelta(days=300))
    (tmp_path / "box.crt").write_bytes(certificate)

    assert levels(run(CertificatesCheck(), device(more=TLS, clock=SetClock(now=NOW))))[-1] is Level.FAILED


def test_a_secret_that_everybody_may_read_is_a_warning_and_is_not_shown(device, run, tmp_path):
    more = "mqtt: {brokers: [{host: 127.0.0.1}], username: u, password_file: secret}"
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "secret").chmod(0o644)

    (finding,) = run(CertificatesCheck(), device(more=more))

    assert finding.level is Level.WARNING
    assert "hunter2" not in str(finding)
    assert "chmod 600" in finding.next_step


# Brokers


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


@pytest.mark.broker
@pytest.mark.skipif(not MOSQUITTO.exists(), reason="there is no Mosquitto")
def test_a_broker_that_answers_is_ok_and_one_that_is_away_is_named(device, run, tmp_path):
    port, away = free_port(), free_port()
    (tmp_path / "broker.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    broker = subprocess.Popen(
        [str(MOSQUITTO), "-c", str(tmp_path / "broker.conf")], stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        brokers = ", ".join(f"{{host: 127.0.0.1, port: {each}}}" for each in (port, away))

        findings = run(BrokerCheck(), device(more=f"mqtt: {{brokers: [{brokers}]}}"))
    finally:
        broker.kill()
        broker.wait()

    assert levels(findings) == [Level.OK, Level.FAILED]
    assert "MQTT 5" in findings[0].message
    assert str(away) in findings[1].message


# All of it


def test_settings_that_do_not_hold_are_the_one_failure_and_what_needs_them_is_skipped(device, tmp_path):
    device()
    (tmp_path / "lineside.yaml").write_text("devise: {}\n")
    subject = look_at(tmp_path / "lineside.yaml", SetClock(), tmp_path / "root")

    found = {finding.check: finding for finding in examine(subject)}

    assert "did you mean 'device'?" in found["settings"].message
    assert [name for name, finding in found.items() if finding.level is Level.FAILED] == ["settings"]
    assert {check.name for check in CHECKS if check.needs_settings} <= {
        name for name, finding in found.items() if finding.level is Level.SKIPPED
    }


def test_a_check_that_breaks_does_not_hide_the_others(device):
    class Broken:
        name = "broken"
        needs_settings = False

        def run(self, subject: Subject):
            raise RuntimeError("rtsp://op:hunter2@cam")

    found = list(examine(device(), [Broken(), PortsCheck()]))

    assert levels(found)[0] is Level.FAILED
    assert "hunter2" not in found[0].message
    assert len(found) == 2


def test_each_check_has_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS) == 15


def test_the_command_says_everything_and_its_exit_code_says_whether_something_failed(device, tmp_path):
    config = device(more="grpc: {listen: '127.0.0.1:0'}").config

    good = CliRunner().invoke(doctor, ["--config", str(config)])
    said = json.loads(CliRunner().invoke(doctor, ["--config", str(config), "--json"]).stdout)
    (tmp_path / "tray.yaml").write_text("recipe: x\n")
    bad = CliRunner().invoke(doctor, ["--config", str(config), "--json"])

    failed = [finding for finding in said["findings"] if finding["level"] == "FAILED"]
    assert (good.exit_code, said["failed"]) == (0, 0), failed
    assert "0 failed" in good.stdout
    assert {check.name for check in CHECKS} == {finding["check"] for finding in said["findings"]}
    assert bad.exit_code == 1
    assert all(
        finding["next_step"] for finding in json.loads(bad.stdout)["findings"] if finding["level"] == "FAILED"
    )
