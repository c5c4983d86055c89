"""`lineside dashboard` as a process: it serves, refuses, and ends when told."""

from __future__ import annotations

import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from lineside.dashboard import processes
from lineside.dashboard.commands import dashboard
from lineside.dashboard.database.connection import Database, read_url
from lineside.dashboard.people import audit

Wait = Callable[[Callable[[], bool], str], None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path, *devices: int) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """The dashboard as a process, its address, and the file with its sign-in link."""
    port, link = free_port(), folder / "link"
    named = [word for device in devices for word in ("--device", f"127.0.0.1:{device}")]
    where = ["--listen", f"127.0.0.1:{port}", "--database", f"sqlite:///{folder / 'd.db'}", "--workers", "1"]
    command = processes.command(["dashboard", *named, *where, "--sign-in-link-to", str(link), "--json-logs"])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, f"http://127.0.0.1:{port}", link
    finally:
        process.kill()
        process.communicate(timeout=60)


def browser() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor())


def answers(opener: urllib.request.OpenerDirector, url: str, words: str) -> bool:
    try:
        with opener.open(url, timeout=5) as answer:
            return answer.status == 200 and words in answer.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_follows_and_ends_when_told_even_with_a_live_page_open(
    device: Any, make: ModuleType, wait_until: Wait, how: signal.Signals, tmp_path: Path
) -> None:
    device.store(make.inspection(1))
    opener = browser()
    with running(tmp_path, device.port) as (process, url, link):
        wait_until(lambda: answers(opener, f"{url}/sign-in", "Sign in"), "it serves")
        entrance = link.read_text().strip()
        assert link.stat().st_mode & 0o077 == 0
        assert answers(opener, entrance, "Fleet")
        assert not answers(browser(), entrance, "Fleet"), "the link works once"
        wait_until(
            lambda: answers(opener, f"{url}/stations/edge-07/st1", "part-0001"), "it follows the device"
        )
        with opener.open(f"{url}/stations/edge-07/st1/events", timeout=30) as live:
            assert live.readline().startswith(b"retry:")
            process.send_signal(how)
            assert process.wait(timeout=60) == 0
        assert not answers(opener, f"{url}/sign-in", "")


def test_an_address_others_can_reach_is_refused_without_tls() -> None:
    result = CliRunner().invoke(dashboard, ["--device", "127.0.0.1:1", "--listen", "0.0.0.0:8088"])
    assert result.exit_code == 3
    assert "without TLS" in result.output


@pytest.mark.parametrize("words", ["mysql://h/d", "postgresql://u:secret@h/d", "sqlite://"])
def test_a_database_that_is_none_for_us_is_refused(words: str) -> None:
    result = CliRunner().invoke(dashboard, ["--database", words, "web"])
    assert result.exit_code == 3
    assert "secret" not in result.output


def test_wrong_usage_is_said(tmp_path: Path) -> None:
    words = ["--database", f"sqlite:///{tmp_path / 'd.db'}", "--timezone", "Mars/Base", "web"]
    assert CliRunner().invoke(dashboard, words).exit_code == 2


def test_users_are_made_changed_and_shut_out_by_command_and_never_by_a_password_in_an_argument(
    tmp_path: Path,
) -> None:
    def run(*words: str, typed: str | None = None) -> Any:
        where = ["--database", f"sqlite:///{tmp_path / 'd.db'}"]
        return CliRunner().invoke(dashboard, [*where, "user", *words], input=typed)

    secret = tmp_path / "secret"
    secret.write_text("a fine long sentence\n")
    assert run("add", "ana", "--role", "admin", "--password-file", str(secret)).exit_code == 0
    assert run("add", "ben", typed="correct horse battery\ncorrect horse battery\n").exit_code == 0
    assert run("line", "ben", "Nord/Filling/Line 2", "reviewer").exit_code == 0
    assert run("add", "cid", "--no-password", "--role", "viewer").exit_code == 0
    assert "/enter/" in run("link", "cid").output
    assert run("disable", "cid").exit_code == 0
    listed = run("list").output.splitlines()
    assert listed == ["ana\tadmin", "ben\tno role\tNord/Filling/Line 2: reviewer", "cid\tviewer\tdisabled"]
    for words, why in (
        (("add", "ana", "--no-password"), "already"),
        (("disable", "ana"), "last admin"),
        (("role", "ana", "viewer"), "last admin"),
        (("disable", "nobody"), "no user"),
    ):
        refused = run(*words)
        assert (refused.exit_code, why in refused.output) == (1, True), refused.output
    assert "12 to 256" in run("add", "dan", typed="short\nshort\n").output
    database = Database(read_url(f"sqlite:///{tmp_path / 'd.db'}"))
    with database.reading() as session:
        assert audit.verify(session) == audit.Check(rows=6, broken_at=None)
    database.close()
    assert b"a fine long sentence" not in (tmp_path / "d.db").read_bytes()
