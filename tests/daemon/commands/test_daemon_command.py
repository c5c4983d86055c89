"""`lineside daemon --check` says what is wrong before anything runs; the service manager hears the rest."""

from __future__ import annotations

import socket
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from lineside.daemon.commands.daemon import daemon
from lineside.daemon.notify import ServiceNotifier

SETTINGS = """
device: {id: box1, data_dir: data}
cameras: [{id: cam1, kind: push}]
stations: [{id: st1, camera: cam1, recipe: tray.yaml}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "tray.yaml").write_text(
        (files("lineside.daemon.demo") / "tray-check.yaml").read_text().partition("gates:")[0]
    )
    path = tmp_path / "lineside.yaml"
    path.write_text(SETTINGS)
    return path


def test_good_settings_are_said_to_be_good(config):
    ended = CliRunner().invoke(daemon, ["--config", str(config), "--check"])

    assert ended.exit_code == 0
    assert "ok (1 cameras, 1 stations, recipes: tray-check v1)" in ended.output


def test_a_wrong_key_is_named_with_its_line_and_the_nearest_right_one(config):
    config.write_text(SETTINGS.replace("stations:", "satations:"))

    ended = CliRunner().invoke(daemon, ["--config", str(config), "--check"])

    assert ended.exit_code == 2
    assert "lineside.yaml" in ended.output
    assert "4" in ended.output
    assert "stations" in ended.output


def test_a_recipe_that_does_not_hold_is_found_by_the_check(config):
    (config.parent / "tray.yaml").write_text("recipe: x\n")

    assert CliRunner().invoke(daemon, ["--config", str(config), "--check"]).exit_code == 2


def test_the_service_manager_hears_ready_alive_and_stopping(tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        notifier = ServiceNotifier(address)
        notifier.ready("1 of 1 stations ready")
        notifier.alive()
        notifier.stopping()
        heard = [manager.recv(200).decode() for _ in range(3)]

    assert heard == ["READY=1\nSTATUS=1 of 1 stations ready", "WATCHDOG=1", "STOPPING=1"]


def test_without_a_service_manager_nothing_is_sent_and_nothing_fails(tmp_path):
    ServiceNotifier(None).alive()
    ServiceNotifier(str(tmp_path / "gone")).alive()
