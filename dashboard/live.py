"""Server-sent events: how a page stays live, and how many pages may.

A client has a cursor, not a queue: each wake-up sends what is newer than the cursor out of the
database, so a slow client holds no memory and a fast line is not sent part by part
to a page that cannot draw so fast. A client that comes back names its cursor (Last-Event-ID).
Knows nothing of HTML: what is sent comes from the functions it is given.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lineside.dashboard.devices.values import Result
from lineside.dashboard.reading.views import DeviceView, StationView

HEARTBEAT_S = 2.0
LOOK_EVERY_S = 0.5
"""Between two looks into the database for one client."""
RETRY_MS = 1500
STRIP = 50
"""Verdicts in a station's strip."""


@dataclass(frozen=True, slots=True)
class News:
    """What one client is to be told: results newer than its cursor, oldest first.

    `reset`: the client's strip is to be drawn anew, because what it has is too old or of another history.
    """

    results: tuple[Result, ...]
    reset: bool


def news_since(results: Sequence[Result], cursor: int | None) -> News:
    """What a client at `cursor` has not seen of a station's last results (oldest first)."""
    strip = tuple(results[-STRIP:])
    if not strip:
        return News((), reset=False)
    if cursor is None or cursor > strip[-1].sequence or all(r.sequence > cursor for r in results):
        return News(strip, reset=True)
    return News(tuple(r for r in strip if r.sequence > cursor), reset=False)


def event(name: str, data: Mapping[str, object], event_id: int | None = None) -> str:
    """One event of the stream. JSON has no raw line breaks, so one `data:` line is enough."""
    id_line = f"id: {event_id}\n" if event_id is not None else ""
    return f"{id_line}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def cursor_from(*candidates: str | None) -> int | None:
    """The first candidate that is a sequence number."""
    for candidate in candidates:
        if candidate and candidate.isascii() and candidate.isdigit() and len(candidate) <= 18:
            return int(candidate)
    return None


def station_stream(
    look: Callable[[], tuple[DeviceView, StationView] | None],
    cursor: int | None,
    *,
    draw_results: Callable[[News, StationView, DeviceView], Mapping[str, object]],
    draw_now: Callable[[StationView, DeviceView], Mapping[str, object]],
    stopping: threading.Event,
    pause_s: float = LOOK_EVERY_S,
) -> Iterator[str]:
    """Events for one station's page until the client leaves, the server stops or the device is removed.

    `results` events carry the newest sequence as their id; `now` events follow when something came, and at
    least every HEARTBEAT_S: they are how a page knows that somebody is still there.
    """
    yield f"retry: {RETRY_MS}\n\n"
    quiet = HEARTBEAT_S
    while not stopping.is_set():
        found = look()
        if found is None:
            return
        device, seen = found
        news = news_since(seen.results, cursor)
        if news.results:
            cursor = news.results[-1].sequence
            yield event("results", draw_results(news, seen, device), cursor)
        if news.results or quiet >= HEARTBEAT_S:
            yield event("now", draw_now(seen, device))
            quiet = 0.0
        stopping.wait(pause_s)
        quiet += pause_s


def overview_stream(
    draw: Callable[[], Mapping[str, object]], pause_s: float, stopping: threading.Event
) -> Iterator[str]:
    """Events for the page of all stations: everything anew, every `pause_s`, as it is small."""
    yield f"retry: {RETRY_MS}\n\n"
    while not stopping.is_set():
        yield event("rows", draw())
        stopping.wait(pause_s)


class LivePages:
    """How many pages are live at once. Each holds one of the server's threads, so they are bounded."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._open = 0

    @property
    def open(self) -> int:
        """Pages live now."""
        with self._lock:
            return self._open

    def enter(self) -> bool:
        """Takes a place; False when all are taken."""
        with self._lock:
            if self._open >= self.most:
                return False
            self._open += 1
            return True

    def leave(self) -> None:
        """Gives a place back."""
        with self._lock:
            self._open -= 1
