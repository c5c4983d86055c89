"""`lineside dashboard` as a process: it serves, refuses, and ends when told."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from lineside.dashboard.commands import dashboard

Wait = Callable[[Callable[[], bool], str], None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*devices: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    named = [word for device in devices for word in ("--device", f"127.0.0.1:{device}")]
    program = "from lineside.daemon.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "dashboard", *named, "--listen", f"127.0.0.1:{port}", "--json-logs"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate(timeout=30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_ends_when_told_even_with_a_live_page_open(
    device: Any, make: ModuleType, wait_until: Wait, how: signal.Signals
) -> None:
    device.store(make.inspection(1))
    with running(device.port) as (process, url):
        wait_until(lambda: answers(f"{url}/"), "it serves")
        wait_until(lambda: answers(f"{url}/stations/edge-07/st1"), "it knows the device")
        with urllib.request.urlopen(f"{url}/stations/edge-07/st1/events", timeout=30) as live:
            assert live.readline().startswith(b"retry:")
            process.send_signal(how)
            assert process.wait(timeout=60) == 0
        assert not answers(f"{url}/")


def test_an_address_others_can_reach_is_refused() -> None:
    result = CliRunner().invoke(dashboard, ["--device", "127.0.0.1:1", "--listen", "0.0.0.0:8088"])
    assert result.exit_code == 3
    assert "without TLS" in result.output


@pytest.mark.parametrize("arguments", [[], ["--device", "127.0.0.1:1", "--timezone", "Mars/Base"]])
def test_wrong_usage_is_said(arguments: list[str]) -> None:
    assert CliRunner().invoke(dashboard, arguments).exit_code == 2
