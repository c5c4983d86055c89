"""A canary in every place where a secret may stand: none of them sings in the bundle."""

from __future__ import annotations

import json
import stat
import tarfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.clock import SystemClock
from lineside.daemon.commands import support_bundle as command
from lineside.daemon.doctor.base import look_at
from lineside.daemon.settings import load_settings
from lineside.daemon.support.collect import PARTS, Wanted, collect
from lineside.daemon.support.redact import MASK, Redactor, secrets_of

RTSP, BROKER, KEY, QUERY, LOGGED, PIPED, TYPED = (
    "canary-rtsp-4711",
    "canary-mqtt-0815",
    "Y2FuYXJ5LWtleS1saW5lCg0123456789abcdef",
    "canary-query-1234",
    "canary-logged-9999",
    "canary-piped-5678",
    "canary-typed-8765",
)
CANARIES = (RTSP, BROKER, KEY, QUERY, LOGGED, PIPED, TYPED)
PEM = f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n"
SETTINGS = f"""
device: {{id: box1, data_dir: data}}
cameras:
  - {{id: cam1, kind: stream, url: "rtsp://viewer:{RTSP}@127.0.0.1:9/live"}}
  - {{id: cam2, kind: stream, url: "http://127.0.0.1:9/mjpeg?user=a&password={QUERY}"}}
  - {{id: cam3, kind: gstreamer, pipeline: "rtspsrc location=rtsp://u:{PIPED}@h:9/a user-pw={TYPED} ! x"}}
stations: [{{id: st1, camera: cam1, recipe: tray.yaml}}]
mqtt:
  brokers: [{{host: 127.0.0.1, port: 9}}]
  username: box1
  password_file: mqtt-password
  tls: {{cert_file: box.crt, key_file: box.key}}
"""
LOGS = f"""
2026 linesided: camera lost: rtsp://viewer:{RTSP}@127.0.0.1:9/live
2026 linesided: connecting with {BROKER}
2026 gst-launch: no answer to {PIPED} or {TYPED}
2026 linesided: Authorization: Bearer {LOGGED}
2026 linesided: token={LOGGED} and api_key: {LOGGED}
2026 other: {PEM}
2026 linesided: {KEY}
2026 linesided: station st1 is ready
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "tray.yaml").write_text(
        (files("lineside.daemon.demo") / "tray-check.yaml").read_text().partition("gates:")[0]
    )
    (tmp_path / "mqtt-password").write_text(BROKER + "\n")
    (tmp_path / "box.key").write_text(PEM)
    (tmp_path / "box.crt").write_text("no certificate")
    path = tmp_path / "lineside.yaml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def bundle(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """Runs the command; the texts in the file it wrote."""
    monkeypatch.setattr(command, "journal", lambda: LOGS)

    def make() -> dict[str, str]:
        out = tmp_path / "support.tar.gz"
        ended = CliRunner().invoke(command.support_bundle, ["--config", str(config), "-o", str(out)])
        assert ended.exit_code == 0, ended.output
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        with tarfile.open(out) as archive:
            return {
                Path(entry.name).name: archive.extractfile(entry).read().decode()  # type: ignore[union-attr]
                for entry in archive.getmembers()
            }

    return make


def test_no_canary_is_in_the_bundle_and_what_helps_is(bundle) -> None:
    texts = bundle()

    assert set(texts) == set(PARTS)
    assert [(name, canary) for name, text in texts.items() for canary in CANARIES if canary in text] == []
    settings = json.loads(texts["settings.json"])
    assert settings["cameras"][0]["url"] == f"rtsp://{MASK}@127.0.0.1:9/live"
    assert settings["mqtt"]["password_file"].endswith("mqtt-password")
    assert "station st1 is ready" in texts["logs.txt"]
    assert "camera lost: rtsp://***@127.0.0.1:9/live" in texts["logs.txt"]
    assert "recipe: tray-check" in texts["recipes.txt"]
    assert {"settings", "camera", "broker"} <= {one["check"] for one in json.loads(texts["doctor.json"])}
    assert "numpy" in json.loads(texts["versions.json"])["packages"]
    assert "lineside.result/1" in json.loads(texts["schemas.json"])["messages"]
    assert json.loads(texts["storage.json"])["pictures"] == 0


def test_settings_that_do_not_hold_are_left_out_whole(bundle, config: Path) -> None:
    config.write_text(f"device: {{id: box1, data_dir: data}}\nmqtt:\n  password:\n    {LOGGED}\n")

    texts = bundle()

    assert not any(LOGGED in text for text in texts.values())
    assert "left out" in texts["settings.json"]


def test_a_part_that_cannot_be_collected_says_so_and_the_others_are_there(config: Path) -> None:
    def gone() -> str:
        raise OSError(f"no journal at rtsp://a:{RTSP}@x")

    wanted = Wanted(look_at(config, SystemClock()), (), gone)

    texts = dict(collect(wanted, Redactor(secrets_of(load_settings(config)))))

    assert texts["logs.txt"].startswith("could not be collected: OSError")
    assert RTSP not in texts["logs.txt"]
    assert json.loads(texts["versions.json"])["lineside"]


def test_a_place_that_cannot_be_written_is_named(config: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(command, "examine", lambda subject: ())
    monkeypatch.setattr(command, "journal", lambda: "")
    out = tmp_path / "nowhere" / "support.tar.gz"

    ended = CliRunner().invoke(command.support_bundle, ["--config", str(config), "-o", str(out)])

    assert ended.exit_code == 3
    assert "cannot be written" in ended.stderr


@pytest.mark.parametrize(
    "line",
    [
        f"password: {LOGGED}",
        f'"mqtt_password" : "{LOGGED}"',
        f"PASSWD={LOGGED}",
        f"passphrase = {LOGGED} with, more",
        f"X-Auth-Token: {LOGGED}",
        f"https://host/path?token={LOGGED}&x=1",
        f"mqtts://u:{LOGGED}@host",
        f"-----BEGIN EC PRIVATE KEY-----\n{LOGGED}\ncut off",
    ],
)
def test_what_looks_like_a_secret_is_masked_though_nobody_knew_it(line: str) -> None:
    assert LOGGED not in Redactor(())(line)


@pytest.mark.parametrize("line", ["password_file: /etc/x", "12 tokens a second", "the key figure is 7"])
def test_what_is_no_secret_stays(line: str) -> None:
    assert Redactor(())(line) == line


@given(st.text(min_size=4, max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_a_known_secret_never_gets_through(secret: str, before: str, after: str) -> None:
    said = Redactor([secret])(f"{before}{secret}{after}")

    assert secret not in said or secret in MASK
