"""The dashboard's processes: pages in one (gunicorn and its workers), following in another; this one watches.

The follower is started again when it dies. When the pages cannot be served, everything ends: whoever started
the dashboard must see it.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

LOOK_EVERY_S = 0.25
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
STEADY_AFTER_S = 60.0
END_WITHIN_S = 20.0
PR_SET_PDEATHSIG = 1

log = structlog.get_logger(__name__)


def command(arguments: Sequence[str]) -> list[str]:
    """`lineside ARGUMENTS`, with this Python."""
    return [sys.executable, "-c", "from lineside.daemon.cli import main; main()", *arguments]


def _end_with_parent() -> None:
    """In the child: told to end when this process is gone, however that happened."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """One process of ours."""

    name: str
    arguments: Sequence[str]
    started: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause_s: float = field(default=FIRST_PAUSE_S)

    def start(self) -> None:
        """Starts it."""
        self.started = subprocess.Popen(self.arguments, preexec_fn=_end_with_parent)
        self.started_at = time.monotonic()

    def ended(self) -> int | None:
        """Its exit code once it has ended."""
        return self.started.poll() if self.started is not None else None

    def end(self) -> None:
        """Tells it to end and waits; kills it when it does not."""
        if self.started is None:
            return
        self.started.terminate()
        try:
            self.started.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            log.warning("killed, as it did not end", process=self.name)
            self.started.kill()
            self.started.wait()


def run(web: Sequence[str], follow: Sequence[str] | None) -> int:
    """Runs both until SIGTERM or SIGINT, or until the pages end; gives the exit code."""
    stopping = threading.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_: stopping.set())
    pages = Child("web", web)
    follower = Child("follow", follow) if follow is not None else None
    pages.start()
    if follower is not None:
        follower.start()
    try:
        while not stopping.wait(LOOK_EVERY_S):
            code = pages.ended()
            if code is not None:
                log.error("the pages ended", code=code)
                return code or 1
            if follower is not None and follower.ended() is not None:
                _again(follower, stopping)
        return 0
    finally:
        for child in (pages, follower):
            if child is not None:
                child.end()


def _again(child: Child, stopping: threading.Event) -> None:
    log.error("started again", process=child.name, code=child.ended(), after_s=round(child.pause_s, 1))
    steady = time.monotonic() - child.started_at > STEADY_AFTER_S
    child.pause_s = FIRST_PAUSE_S if steady else min(2 * child.pause_s, LONGEST_PAUSE_S)
    if not stopping.wait(child.pause_s):
        child.start()
