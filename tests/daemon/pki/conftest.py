"""An authority in a folder, the real enrolment server on a free port, and a clock that a test may turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lineside.daemon.pki.authority import Authority
from lineside.daemon.pki.enrol_server import EnrolServer


class TurnedClock:
    """Wall time that a test turns; the rest of TLS goes by the real clock, so it starts there."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic_ns(self) -> int:
        return 0

    def synchronised(self) -> bool:
        return True


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def authority(tmp_path: Path, clock: TurnedClock) -> Authority:
    return Authority.create(tmp_path / "ca", "north", clock.now())


@pytest.fixture
def server_of(tmp_path: Path, clock: TurnedClock) -> Iterator[Callable[[Authority], str]]:
    """Serves an authority; gives its address."""
    opened: list[EnrolServer] = []

    def start(authority: Authority, name: str = "localhost") -> str:
        folder = tmp_path / f"served{len(opened)}"
        server = EnrolServer(authority, folder, (name,), ("127.0.0.1", 0), clock.now)
        port = server.open()
        opened.append(server)
        return f"https://localhost:{port}"

    yield start
    for server in opened:
        server.close()
