"""One output: its line, its pulses, and the thread that owns both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from lineside.daemon.clock import Clock
from lineside.daemon.outputs.line import Line, LineTrouble
from lineside.daemon.outputs.make import open_line
from lineside.daemon.outputs.options import OutputSettings
from lineside.daemon.outputs.pulses import Pulses
from lineside.daemon.values import Verdict

LOG = structlog.get_logger("outputs")
REOPEN_NS = 1_000_000_000
"""How long a line that failed is left alone before it is opened again."""
LOOK_NS = 100_000_000
"""How often a ready output or a heartbeat looks whether its station is ready."""
CLOSE_S = 10.0
"""How long, beyond the pulse that is on, an output may take to end (a slow program behind it)."""


@dataclass(frozen=True, slots=True)
class OutputState:
    """What an output did since the daemon started. `trouble` None: its line works."""

    output: str
    station: str
    role: str
    on: bool
    waiting: int
    asked: int
    late: int
    failed: int
    trouble: str | None


class Output:
    """Acts on verdicts, or shows that the station can judge. `verdict` returns at once and never raises.

    A line that cannot be switched is opened anew every second. Pulses that fall meanwhile are not lost in
    silence: each is counted as failed, and `on_trouble` hears of the first.
    """

    def __init__(
        self,
        settings: OutputSettings,
        clock: Clock,
        *,
        on_trouble: Callable[[str, str], None],
        ready: Callable[[], bool] = lambda: False,
        opening: Callable[[OutputSettings], Line] = open_line,
    ) -> None:
        """`on_trouble` takes a stable code and a message. `ready` is asked only by an output of that role."""
        self.settings = settings
        self._clock = clock
        self._on_trouble = on_trouble
        self._is_ready = ready
        self._opening = opening
        self._pulses = Pulses(round(settings.pulse_ms * 1e6), round(settings.late_ms * 1e6))
        self._changed = threading.Condition()
        self._stop = False
        self._asked = self._late = self._failed = 0
        self._level = False
        self._trouble: str | None = None
        self._line: Line | None = None
        self._retry_ns = 0
        self._thread = threading.Thread(target=self._run, name=f"output:{settings.id}", daemon=True)

    def open(self) -> None:
        """Opens the line and starts. A line that is not there is trouble, told and tried again; no error."""
        self._thread.start()

    def close(self) -> None:
        """Lets the pulse that is on end, drops those still to come, and switches the line off."""
        with self._changed:
            self._stop = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=self.settings.pulse_ms / 1e3 + CLOSE_S)

    def verdict(self, verdict: Verdict, seen_ns: int) -> None:
        """Asks for a pulse when this output acts on the verdict; `seen_ns` is when the part was seen."""
        if self.settings.role != "reject" or verdict not in self.settings.acts_on:
            return
        with self._changed:
            self._pulses.ask(seen_ns + round(self.settings.delay_ms * 1e6))
            self._asked += 1
            self._changed.notify()

    def state(self) -> OutputState:
        """The output as it is now."""
        settings = self.settings
        with self._changed:
            return OutputState(
                settings.id,
                settings.station,
                settings.role,
                self._level,
                self._pulses.waiting,
                self._asked,
                self._late,
                self._failed,
                self._trouble,
            )

    def _run(self) -> None:
        while self._turn():
            pass
        if self._line is not None:
            self._line.close()
        with self._changed:
            self._level = False

    def _turn(self) -> bool:
        """Switches when it is time to, or waits until it may be; False when it is time to end."""
        role = self.settings.role
        ready = role != "reject" and self._is_ready()
        with self._changed:
            now = self._clock.monotonic_ns()
            edges = self._pulses.at(now)
            self._late += edges.late
            if self._trouble is not None:
                self._failed += edges.begun
            beat = role == "heartbeat" and now // self._pulses.length_ns % 2 == 0
            wanted = edges.level if role == "reject" else ready and not beat
            if self._stop and (not edges.level or self._line is None):
                return False
            switch = now >= self._retry_ns if self._line is None else wanted != self._level
            if not switch and not edges.late:
                self._changed.wait(self._patience_s(now, edges.next_ns))
                return True
        if edges.late:
            self._tell("OUTPUT_LATE", f"{edges.late} pulse(s) began after the part had passed")
        if switch:
            self._switch(wanted, edges.begun)
        return True

    def _patience_s(self, now: int, next_ns: int | None) -> float | None:
        moments = [next_ns] if next_ns is not None else []
        if self._line is None:
            moments.append(self._retry_ns)
        if self.settings.role != "reject":
            moments.append(now + LOOK_NS)
        if self.settings.role == "heartbeat":
            length = self._pulses.length_ns
            moments.append((now // length + 1) * length)
        return max(0.0, (min(moments) - now) / 1e9) if moments else None

    def _switch(self, on: bool, begun: int) -> None:
        try:
            if self._line is None:
                self._line = self._opening(self.settings)
            if on != self._level:
                self._line.set(on)
        except LineTrouble as error:
            self._lose(str(error), begun)
            return
        with self._changed:
            self._level = on
            mended, self._trouble = self._trouble is not None, None
        if mended:
            LOG.warning("output works again", output=self.settings.id)

    def _lose(self, because: str, begun: int) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
        with self._changed:
            new = self._trouble is None
            self._trouble = because
            self._level = False
            self._retry_ns = self._clock.monotonic_ns() + REOPEN_NS
            if new:
                self._failed += begun
        if new:
            self._tell("OUTPUT_FAILED", because)

    def _tell(self, code: str, because: str) -> None:
        LOG.error("output in trouble", output=self.settings.id, code=code, because=because)
        self._on_trouble(code, f"output '{self.settings.id}' of station '{self.settings.station}': {because}")
