"""A fleet from the command line alone: an authority, a token, a device that joins, a person with a role."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files as package_files
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lineside.daemon.commands.ca import ca
from lineside.daemon.commands.enroll import enroll
from lineside.daemon.pki import files
from lineside.daemon.pki.authority import Authority
from lineside.daemon.pki.device import DeviceKeys
from lineside.daemon.pki.enrol_server import EnrolServer
from lineside.daemon.pki.identity import identity_of

SETTINGS = """
device: {id: box1, data_dir: data}
cameras: [{id: cam1, kind: push}]
stations: [{id: st1, camera: cam1, recipe: tray.yaml}]
"""


def run(command: object, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])  # type: ignore[arg-type]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    recipe = (package_files("lineside.daemon.demo") / "tray-check.yaml").read_text().partition("gates:")[0]
    (tmp_path / "tray.yaml").write_text(recipe)
    (tmp_path / "lineside.yaml").write_text(SETTINGS)
    return tmp_path / "lineside.yaml"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    assert run(ca, "init", tmp_path / "ca", "--fleet", "north").exit_code == 0
    return tmp_path / "ca"


@pytest.fixture
def url(fleet: Path) -> Iterator[str]:
    server = EnrolServer(
        Authority.open(fleet), fleet, ("localhost",), ("127.0.0.1", 0), lambda: datetime.now(UTC)
    )
    port = server.open()
    yield f"https://localhost:{port}"
    server.close()


def test_a_device_joins_by_a_token(fleet: Path, url: str, config: Path) -> None:
    (config.parent / "token").write_text(run(ca, "token", fleet, "box1").output)
    joined = run(enroll, "--config", config, "--fleet", url, "--token-file", config.parent / "token")
    assert joined.exit_code == 0, joined.output
    keys = DeviceKeys.under(config.parent / "data", "box1")
    leaf = files.read_certificates(keys.certificate)[0]
    assert identity_of(leaf).uri == "spiffe://north/lineside/device/box1"


def test_a_wrong_token_is_refused_in_words_that_do_not_quote_it(fleet: Path, url: str, config: Path) -> None:
    token = run(ca, "token", fleet, "box2").output.strip()
    (config.parent / "token").write_text(token)
    refused = run(enroll, "--config", config, "--fleet", url, "--token-file", config.parent / "token")
    assert refused.exit_code == 3
    assert "another device" in refused.output
    assert token.partition(".")[2] not in refused.output


def test_a_request_signed_by_hand_is_taken_as_well(fleet: Path, config: Path) -> None:
    keys = DeviceKeys.under(config.parent / "data", "box1")
    keys.ensure()
    signed = run(ca, "sign", fleet, keys.request, "--role", "device", "--who", "box1", "--name", "10.0.0.7")
    assert signed.exit_code == 0, signed.output
    (config.parent / "box1.crt").write_text(signed.output)
    taken = run(
        enroll,
        "--config",
        config,
        "--certificate",
        config.parent / "box1.crt",
        "--authority",
        fleet / "ca.crt",
    )
    assert taken.exit_code == 0, taken.output
    assert keys.fleet() is not None


def test_a_person_gets_a_key_once(fleet: Path, tmp_path: Path) -> None:
    issued = run(ca, "issue", fleet, "anna", "--role", "engineer", "--out", tmp_path / "anna")
    assert issued.exit_code == 0, issued.output
    assert sorted(path.name for path in (tmp_path / "anna").iterdir()) == [
        "anna.crt",
        "anna.key",
        "fleet-ca.crt",
    ]
    assert (tmp_path / "anna" / "anna.key").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "anna" / "anna.key").read_bytes()
    again = run(ca, "issue", fleet, "anna", "--role", "engineer", "--out", tmp_path / "anna")
    assert again.exit_code == 3
    assert (tmp_path / "anna" / "anna.key").read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [[], ["--fleet", "https://x"], ["--fleet", "https://x", "--authority", "lineside.yaml"]]
)
def test_half_of_what_is_needed_is_wrong_usage(config: Path, arguments: list[str], monkeypatch) -> None:
    monkeypatch.chdir(config.parent)
    assert run(enroll, "--config", config, *arguments).exit_code == 2
