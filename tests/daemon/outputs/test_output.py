"""An output acts with its delay and length; a line that fails is told, counted and tried again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from lineside.daemon.clock import SystemClock
from lineside.daemon.outputs.line import LineTrouble
from lineside.daemon.outputs.make import open_line
from lineside.daemon.outputs.options import OutputSettings
from lineside.daemon.outputs.output import Output
from lineside.daemon.values import Verdict

CLOCK = SystemClock()
MS = 1_000_000


def settings(**given: object) -> OutputSettings:
    words = {"id": "gate", "station": "st1", "kind": "file", "path": "/nowhere/line", **given}
    return TypeAdapter(OutputSettings).validate_python(words)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited for: {what}"
        time.sleep(0.005)


class NotedLine:
    """A line at the hardware's edge: notes each change with its time; can be broken and mended."""

    def __init__(self) -> None:
        self.changes: list[tuple[int, bool]] = []
        self.broken = False
        self.opened = 0
        self.closed = threading.Event()

    def open(self, _: OutputSettings) -> NotedLine:
        if self.broken:
            raise LineTrouble("the cable is out")
        self.opened += 1
        return self

    def set(self, on: bool) -> None:
        if self.broken:
            raise LineTrouble("the cable is out")
        self.changes.append((time.monotonic_ns(), on))

    def close(self) -> None:
        self.closed.set()


class Told:
    def __init__(self) -> None:
        self.codes: list[str] = []

    def __call__(self, code: str, message: str) -> None:
        assert "gate" in message
        self.codes.append(code)


@pytest.fixture
def told() -> Told:
    return Told()


def test_the_pulse_comes_after_its_delay_and_has_its_length(told: Told) -> None:
    line = NotedLine()
    output = Output(settings(delay_ms=150, pulse_ms=80), CLOCK, on_trouble=told, opening=line.open)
    output.open()
    seen = time.monotonic_ns()
    output.verdict(Verdict.NOT_OK, seen)
    until(lambda: len(line.changes) == 2, "the pulse")
    output.close()
    (on_ns, on), (off_ns, off) = line.changes
    assert (on, off) == (True, False)
    assert on_ns - seen >= 150 * MS
    # Counted from the moment that was due; only what the machine takes may be missing.
    assert off_ns - seen >= (150 + 80) * MS
    assert output.state().asked == 1
    assert line.closed.is_set()


def test_it_acts_on_what_must_not_pass_and_on_nothing_else(told: Told) -> None:
    line = NotedLine()
    output = Output(settings(pulse_ms=20), CLOCK, on_trouble=told, opening=line.open)
    output.open()
    output.verdict(Verdict.OK, time.monotonic_ns())
    assert output.state().asked == 0
    for verdict in (Verdict.NOT_DECIDABLE, Verdict.NOT_OK):
        before = len(line.changes)
        output.verdict(verdict, time.monotonic_ns())
        until(lambda before=before: len(line.changes) == before + 2, f"a pulse for {verdict}")
    output.close()
    assert told.codes == []


def test_a_pulse_that_could_only_begin_late_is_told(told: Told) -> None:
    line = NotedLine()
    output = Output(settings(late_ms=100), CLOCK, on_trouble=told, opening=line.open)
    output.open()
    output.verdict(Verdict.NOT_OK, time.monotonic_ns() - 5_000 * MS)
    until(lambda: "OUTPUT_LATE" in told.codes, "the alarm")
    until(lambda: len(line.changes) >= 1, "the pulse all the same")
    assert output.state().late == 1
    output.close()


def test_a_line_that_fails_is_told_once_and_tried_until_it_works(told: Told) -> None:
    line = NotedLine()
    line.broken = True
    output = Output(settings(pulse_ms=20), CLOCK, on_trouble=told, opening=line.open)
    output.open()
    until(lambda: output.state().trouble is not None, "the trouble")
    for _ in range(3):
        output.verdict(Verdict.NOT_OK, time.monotonic_ns())
    until(lambda: output.state().failed == 3, "every pulse that nobody felt is counted")
    assert told.codes == ["OUTPUT_FAILED"]
    line.broken = False
    until(lambda: output.state().trouble is None, "the line opened again")
    output.verdict(Verdict.NOT_OK, time.monotonic_ns())
    until(lambda: [on for _, on in line.changes][-2:] == [True, False], "a pulse as before")
    output.close()
    assert output.state().failed == 3


def test_a_line_that_breaks_while_on_is_trouble_at_once(told: Told) -> None:
    line = NotedLine()
    output = Output(settings(pulse_ms=50), CLOCK, on_trouble=told, opening=line.open)
    output.open()
    until(lambda: line.opened == 1, "the line")
    line.broken = True
    output.verdict(Verdict.NOT_OK, time.monotonic_ns())
    until(lambda: output.state().failed == 1, "the failed pulse")
    assert told.codes == ["OUTPUT_FAILED"]
    output.close()


def test_a_ready_output_shows_whether_the_station_can_judge_and_goes_off_with_it(told: Told) -> None:
    line, ready = NotedLine(), threading.Event()
    output = Output(settings(role="ready"), CLOCK, on_trouble=told, ready=ready.is_set, opening=line.open)
    output.open()
    ready.set()
    until(lambda: [on for _, on in line.changes] == [True], "ready")
    output.verdict(Verdict.NOT_OK, time.monotonic_ns())
    ready.clear()
    until(lambda: [on for _, on in line.changes] == [True, False], "not ready")
    output.close()
    assert output.state().asked == 0
    assert line.closed.is_set()


def test_a_heartbeat_beats_while_the_station_can_judge_and_stops_with_it(told: Told) -> None:
    line, ready = NotedLine(), threading.Event()
    output = Output(
        settings(role="heartbeat", pulse_ms=30), CLOCK, on_trouble=told, ready=ready.is_set, opening=line.open
    )
    output.open()
    assert line.changes == []
    ready.set()
    until(lambda: len(line.changes) >= 6, "six changes")
    ready.clear()
    stopped = -1
    while stopped != len(line.changes):
        stopped = len(line.changes)
        time.sleep(0.3)  # ten beats
    assert [on for _, on in line.changes] == [True, False] * (stopped // 2)
    output.close()


def test_a_file_shows_the_level(tmp_path: Path) -> None:
    line = open_line(settings(path=str(tmp_path / "line")))
    assert (tmp_path / "line").read_text() == "0\n"
    line.set(True)
    assert (tmp_path / "line").read_text() == "1\n"
    line.close()
    assert (tmp_path / "line").read_text() == "0\n"


def test_a_command_is_run_with_the_level_and_its_failure_is_trouble(tmp_path: Path) -> None:
    program = tmp_path / "relay"
    program.write_text(
        f'#!/bin/sh\necho "$1" >> {tmp_path}/said\n'
        f"[ ! -e {tmp_path}/broken ] || {{ echo no relay >&2; exit 3; }}\n"
    )
    program.chmod(0o755)
    line = open_line(_command(program))
    line.set(True)
    (tmp_path / "broken").touch()
    with pytest.raises(LineTrouble, match="ended with 3: no relay"):
        line.set(False)
    assert (tmp_path / "said").read_text().split() == ["off", "on", "off"]


def _command(program: Path, **given: object) -> OutputSettings:
    words = {"id": "gate", "station": "st1", "kind": "command", "command": [str(program)], **given}
    return TypeAdapter(OutputSettings).validate_python(words)


def test_a_command_that_hangs_is_trouble_in_its_time(tmp_path: Path) -> None:
    program = tmp_path / "relay"
    program.write_text('#!/bin/sh\n[ "$1" = off ] || exec sleep 60\n')
    program.chmod(0o755)
    line = open_line(_command(program, timeout_s=0.5))
    with pytest.raises(LineTrouble, match=r"longer than 0\.5 s"):
        line.set(True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": "command", "command": ["/nowhere/relay"]}, "no program"),
        ({"kind": "file", "path": "/nowhere/line"}, "cannot be written"),
        ({"kind": "gpio", "chip": "/dev/nowhere", "line": 4}, "cannot be used|needs libgpiod"),
    ],
)
def test_a_line_that_is_not_there_says_so(given: dict[str, object], says: str) -> None:
    words = {"id": "gate", "station": "st1", **given}
    with pytest.raises(LineTrouble, match=says):
        open_line(TypeAdapter(OutputSettings).validate_python(words))
