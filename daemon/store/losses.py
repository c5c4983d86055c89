"""Makes known what had to go or could not be taken: counted, an alarm, and a row among the changes.

Pictures that went to make room, and parts that the store did not accept. The first is told at once, what
follows once an hour, each in the transaction that notes how far was told: nothing is left out or told
twice, whatever crashes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy import Connection, Engine

from lineside.daemon.clock import Clock
from lineside.daemon.store import changes, retention
from lineside.daemon.store.changes import Change
from lineside.daemon.store.device_state import add_number, number, set_state
from lineside.daemon.store.errors import Alarm, AlarmCode
from lineside.daemon.values import Intake

TELL_EVERY_S = 3600
PARTS_REFUSED = "parts.refused"
_EVICTED = "evidence.evicted"
_ALARMS = {
    _EVICTED: (AlarmCode.EVIDENCE_EVICTED, "pictures went to make room"),
    PARTS_REFUSED: (AlarmCode.PARTS_REFUSED, "parts were not recorded, because results could not be written"),
}


class Losses:
    """`refused` may be called in any thread, the rest in the writer's."""

    def __init__(self, engine: Engine, clock: Clock, alarm: Callable[[Alarm], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._alarm = alarm
        self._lock = threading.Lock()
        self._refused = 0
        self._untold = True  # what a crash may have left untold
        self._next_ns = clock.monotonic_ns()

    def refused(self, intake: Intake) -> None:
        """A part was not accepted: the first of a period is an alarm at once, as nothing can be written."""
        with self._lock:
            self._refused += 1
            first = self._refused == 1
        if first:
            message = f"part {intake.part_id} of {intake.station}, and maybe more, cannot be recorded"
            self._alarm(Alarm(AlarmCode.PARTS_REFUSED, message, self._clock.now(), intake.result_id))

    def evicted(self) -> None:
        """Pictures went to make room."""
        self._untold = True

    def note(self) -> None:
        """Writes down and tells what was not told yet, when it is time. Raises what the database raises."""
        with self._lock:
            refused = self._refused
        if not refused and not (self._untold and self._clock.monotonic_ns() >= self._next_ns):
            return
        with self._engine.begin() as connection:
            if refused:
                add_number(connection, PARTS_REFUSED, refused)
            told = [self._tell(connection, subject, total) for subject, total in _totals(connection).items()]
        with self._lock:
            self._refused -= refused
        self._untold = False
        for alarm in filter(None, told):
            self._next_ns = self._clock.monotonic_ns() + TELL_EVERY_S * 1_000_000_000
            self._alarm(alarm)

    def _tell(self, connection: Connection, subject: str, totals: dict[str, int]) -> Alarm | None:
        news = {}
        for key, total in totals.items():
            noted = f"told.{key}"
            if more := total - number(connection, noted):
                news[key.rpartition(".")[2]] = more
                set_state(connection, noted, str(total))
        if not news:
            return None
        code, what = _ALARMS[subject]
        parts = ", ".join(f"{name} {count}" for name, count in news.items())
        in_all = sum(totals.values())
        outcome = f"{parts}; {in_all} in all"
        changes.append(connection, Change(self._clock.now(), "device", "", code.value, subject, outcome))
        return Alarm(code, f"{what}: {outcome}", self._clock.now())


def _totals(connection: Connection) -> dict[str, dict[str, int]]:
    gone = retention.gone(connection, retention.EVICTED)
    return {
        _EVICTED: {f"{_EVICTED}.{verdict.value}": total for verdict, total in gone.items()},
        PARTS_REFUSED: {PARTS_REFUSED: number(connection, PARTS_REFUSED)},
    }
