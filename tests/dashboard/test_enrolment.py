"""Devices join the fleet through the dashboard: the real command, over real TLS, and a person in between."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from lineside.dashboard.app import create_app
from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import Address, DashboardConfig
from lineside.dashboard.database.alerting_tables import EnrolmentToken
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.people_tables import Audit
from lineside.dashboard.database.steering_tables import Enrolment
from lineside.dashboard.enrolment import desk
from lineside.dashboard.enrolment.server import EnrolmentServer
from lineside.dashboard.enrolment.signing import (
    Authority,
    RefusedRequest,
    identity_of,
    key_print,
    names_of,
    read_request,
)
from lineside.dashboard.people.rights import Role

SETTINGS = """\
device: {{id: {device}, data_dir: {data}}}
cameras: [{{id: cam1, kind: push}}]
stations: [{{id: st1, camera: cam1, recipe: tray.yaml}}]
"""
LINESIDE = [sys.executable, "-c", "from lineside.daemon.cli import main; main()"]


def lineside(*words: object) -> subprocess.CompletedProcess[str]:
    """The real command, in a process."""
    return subprocess.run([*LINESIDE, *map(str, words)], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def made_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "ca"
    made = lineside("ca", "init", folder, "--fleet", "north")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def authority(made_authority: Path) -> Authority:
    return Authority(made_authority)


@pytest.fixture
def serve(made_authority: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Lets devices in by a database; gives the address."""
    opened: list[EnrolmentServer] = []

    def start(database: Database, now: Callable[[], datetime] = utc_now) -> str:
        authority = Authority(made_authority)
        server = EnrolmentServer(
            database, authority, tmp_path / "served", ("localhost",), Address("127.0.0.1", 0), now
        )
        # Port 0 takes any: `Address` itself refuses it where it is read from words.
        url = f"https://localhost:{server.open()}"
        opened.append(server)
        with database.writing() as session:
            desk.note_served(session, authority, url, utc_now())
        return url

    yield start
    for server in opened:
        server.close()


@pytest.fixture
def app(database: Database) -> Flask:
    made = create_app(DashboardConfig(timezone=UTC), database)
    made.testing = True
    return made


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """The settings of a device called box7."""
    return settings(tmp_path, "box7")


def settings(folder: Path, device: str, data: str = "") -> Path:
    config = folder / f"{data or device}.yaml"
    recipe = (files("lineside.daemon.demo") / "tray-check.yaml").read_text().partition("gates:")[0]
    (folder / "tray.yaml").write_text(recipe)
    config.write_text(SETTINGS.format(device=device, data=folder / (data or device)))
    return config


def post(client: FlaskClient, path: str, **form: Any) -> Any:
    key = re.search(r'name="csrf" value="(\w+)"', client.get("/account").text)
    assert key is not None
    return client.post(path, data={"csrf": key[1], **form})


def token(client: FlaskClient, device: str = "box7", **more: str) -> str:
    answer = post(client, "/enrolment/tokens", device=device, hours="24", **more)
    found = re.search(r"[0-9a-f]{64}\.[0-9a-f]{32}", answer.text)
    assert found is not None, answer.text
    return found[0]


def enroll(config: Path, url: str, words: str) -> subprocess.CompletedProcess[str]:
    file = config.with_suffix(".token")
    file.write_text(words)
    return lineside("enroll", "--config", config, "--fleet", url, "--token-file", file)


def test_a_device_waits_until_a_person_has_compared_its_fingerprint(
    app: Flask,
    database: Database,
    serve: Callable[..., str],
    client_of: Callable[..., FlaskClient],
    box: Path,
    authority: Authority,
) -> None:
    url, client = serve(database), client_of(app)
    words = token(client, names="10.0.0.7, box7.plant.example")
    assert words not in client.get("/enrolment").text
    waits = enroll(box, url, words)
    assert waits.returncode == 3
    shown = re.search(r"fingerprint ((?:[0-9a-f]{4} ?){16})", waits.stdout)
    assert shown is not None, waits
    assert shown[1].strip() in waits.stderr, "the server saw the key that the device has"
    assert shown[1].strip() in client.get("/enrolment").text
    assert post(client, "/enrolment/1", what="approve").status_code == 200
    joined = enroll(box, url, words)
    assert joined.returncode == 0, joined.stderr
    assert "box7 belongs to the fleet north" in joined.stdout
    chain = x509.load_pem_x509_certificates((box.parent / "box7" / "pki" / "device.crt").read_bytes())
    assert identity_of(chain[0]) == ("north", "device", "box7")
    assert set(names_of(chain[0])) == {"box7", "10.0.0.7", "box7.plant.example"}
    authority.must_have_signed(chain[0])
    with database.reading() as session:
        noted = [row.action for row in session.scalars(select(Audit).order_by(Audit.id)) if row.who != "test"]
        kept = session.scalars(select(EnrolmentToken.token_hash)).all()
    assert noted == ["enrolment.token", "enrolment.ask", "enrolment.approved"]
    assert words.split(".")[1] not in kept, "only the hash is kept"
    thief = enroll(settings(box.parent, "box7", "thief"), url, words)
    assert (thief.returncode, "used by another key" in thief.stderr) == (3, True)
    post(client, "/enrolment/1", what="refuse")
    assert "a person has refused this device" in enroll(box, url, words).stderr


def certificate_request(device: str = "box7") -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, device)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def ask(database: Database, words: str, request: str, at: datetime, device: str = "box7") -> Any:
    with database.writing() as session:
        secret = words.split(".")[-1]
        return desk.admit(session, secret, device, request, "10.0.0.7", at, signs=True)


def give(database: Database, at: datetime, device: str = "box7", *, needs_approval: bool = False) -> str:
    where = desk.Served("north", "ab" * 32, "https://localhost:1", True)
    with database.writing() as session:
        return desk.make_token(session, where, device, [], 24, needs_approval=needs_approval, by="ana", at=at)


def test_a_token_is_for_one_device_one_key_and_one_day(database: Database) -> None:
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    request, words = certificate_request(), give(database, at)
    for wrong, what in (
        (ask(database, "ab" * 16, request, at), "no such token"),
        (ask(database, words, request, at, "box8"), "another device"),
        (ask(database, words, request, at + timedelta(hours=25)), "ended"),
    ):
        assert isinstance(wrong, desk.NotLetIn)
        assert what in str(wrong)
    assert isinstance(ask(database, words, request, at), desk.Admitted)
    assert isinstance(ask(database, words, request, at), desk.Admitted), "an answer may get lost"
    refused = ask(database, words, certificate_request(), at)
    assert isinstance(refused, desk.NotLetIn)
    assert "another key" in str(refused)


def test_a_key_that_waits_is_not_let_in_by_another_device_s_token(database: Database) -> None:
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    request = certificate_request()
    assert ask(database, give(database, at, needs_approval=True), request, at).code == "WAITING"
    assert ask(database, give(database, at, "box8"), request, at, "box8").code == "KEY_REFUSED"
    with database.reading() as session:
        assert session.scalars(select(Enrolment.state)).all() == ["waiting"]


@given(st.text(max_size=200))
def test_no_words_are_a_request_that_are_none(words: str) -> None:
    with pytest.raises(RefusedRequest):
        read_request(words)


def test_a_certificate_that_a_plant_signed_elsewhere_is_brought_to_the_device(
    app: Flask,
    database: Database,
    client_of: Callable[..., FlaskClient],
    authority: Authority,
) -> None:
    at = utc_now()
    client, request = client_of(app), certificate_request()
    with database.writing() as session:
        desk.note_served(session, authority, "https://localhost:1", at)
    words = give(database, at)

    def call() -> Any:
        with database.writing() as session:
            return desk.admit(session, words.split(".")[1], "box7", request, "10.0.0.7", at, signs=False)

    assert call().code == "WAITING"
    fetched = client.get("/enrolment/1/request.csr")
    assert key_print(read_request(fetched.text)) == key_print(read_request(request))
    chain = authority.sign(read_request(fetched.text), "device", "box7", ["box7"], at)
    other = authority.sign(read_request(certificate_request()), "device", "box7", ["box7"], at)
    for wrong in ("no certificate", other):
        assert post(client, "/enrolment/1", what="certificate", chain=wrong).status_code == 400
    assert post(client, "/enrolment/1", what="certificate", chain=chain).status_code == 200
    assert call().certificate.strip() == chain.strip()


def test_pages_make_no_token_before_a_process_lets_devices_in_nor_for_what_is_no_name(
    app: Flask, database: Database, client_of: Callable[..., FlaskClient], authority: Authority
) -> None:
    client = client_of(app)
    assert "lineside dashboard enrolment" in client.get("/enrolment").text
    assert post(client, "/enrolment/tokens", device="box7", hours="24").status_code == 400
    with database.writing() as session:
        desk.note_served(session, authority, "https://fleet:8443", utc_now())
    for wrong in ({"device": "../box"}, {"hours": "0"}, {"hours": "x"}, {"names": "bad_host!"}):
        answer = post(client, "/enrolment/tokens", **{"device": "box7", "hours": "24", **wrong})
        assert (answer.status_code, "Not saved" in answer.text) == (400, True), wrong
    engineer = client_of(app, Role.ENGINEER, "eve")
    assert engineer.get("/enrolment").status_code == 403
    assert post(engineer, "/enrolment/tokens", device="box7", hours="24").status_code == 403
    assert post(client, "/enrolment/77", what="approve").status_code == 404


def test_the_command_serves_and_says_where(made_authority: Path, sqlite_files: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{sqlite_files.migrated().database}"
    command = [*LINESIDE, "dashboard", "--database", url, "enrolment"]
    missing = subprocess.run(
        [*command, str(tmp_path), "--name", "localhost"], capture_output=True, text=True, timeout=120
    )
    assert (missing.returncode, "lineside ca init" in missing.stderr) == (1, True)
