"""The memory never pretends to be newer than it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from lineside.dashboard.devices import translate
from lineside.dashboard.devices.memory import KEPT, WATCH_SILENT_AFTER_S, Contact, DeviceMemory
from lineside.dashboard.devices.values import Device, Engine, Result
from lineside.v1 import results_pb2


class Times:
    """A wall clock and a monotonic one that a test turns."""

    def __init__(self, wall: datetime) -> None:
        self.wall, self.steady = wall, 100.0

    def pass_by(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds


def memory_at(times: Times, zone: ZoneInfo | None = None) -> DeviceMemory:
    return DeviceMemory(
        now=lambda: times.wall,
        monotonic=lambda: times.steady,
        zone=zone or ZoneInfo("UTC"),
        silent_after_s=8.0,
    )


def device(time: datetime | None = None) -> Device:
    return Device("edge", "", "", "", "", Engine("", "", "", ""), "READY", True, 0, time=time)


def result(sequence: int, decided: datetime, evaluation: int = 1) -> Result:
    message = results_pb2.Inspection(sequence=sequence, result_id=f"r{sequence}", station="s")
    message.evaluation = evaluation  # type: ignore[assignment]
    message.decide_time.FromDatetime(decided)
    return translate.result(message)


def test_contact_goes_from_never_to_live_to_silent_by_time_alone() -> None:
    times = Times(datetime(2026, 3, 1, 12, tzinfo=UTC))
    memory = memory_at(times)
    assert memory.view().contact is Contact.NEVER
    memory.begin(memory.new_history(), whole_day=True)
    memory.seen(device(), (), ())
    assert memory.view().contact is Contact.LIVE
    times.pass_by(8.1)
    view = memory.view()
    assert view.contact is Contact.SILENT
    assert view.silent_for_s is not None
    assert 8 < view.silent_for_s < 9


def test_a_watch_that_is_silent_is_silence_even_when_the_device_answers() -> None:
    times = Times(datetime(2026, 3, 1, 12, tzinfo=UTC))
    memory = memory_at(times)
    memory.begin(memory.new_history(), whole_day=True)
    times.pass_by(WATCH_SILENT_AFTER_S + 1)
    memory.seen(device(), (), ())
    assert memory.view().contact is Contact.SILENT
    assert memory.watch_is_stale()
    memory.watch_lives(0)
    assert memory.view().contact is Contact.LIVE


def test_results_are_bounded_and_never_taken_twice() -> None:
    times = Times(datetime(2026, 3, 1, 12, tzinfo=UTC))
    memory = memory_at(times)
    memory.begin(memory.new_history(), whole_day=True)
    for n in range(1, 101):
        assert memory.remember(result(n, times.wall))
        assert not memory.remember(result(n, times.wall))
    seen = memory.station_view("s")
    assert list(range(101 - KEPT, 101)) == [r.sequence for r in seen.results]
    assert seen.counts.total == 100


def test_the_day_turns_at_local_midnight() -> None:
    zone = ZoneInfo("Europe/Berlin")
    times = Times(datetime(2026, 3, 1, 22, 59, tzinfo=UTC))  # 23:59 in Berlin
    memory = memory_at(times, zone)
    memory.begin(memory.new_history(), whole_day=True)
    memory.remember(result(1, times.wall))
    assert memory.station_view("s").counts.total == 1
    times.pass_by(120)
    assert memory.station_view("s").counts.total == 0
    memory.remember(result(2, times.wall))
    assert memory.station_view("s").counts.total == 1


def test_a_verdict_that_is_not_understood_counts_as_one_for_a_person() -> None:
    times = Times(datetime(2026, 3, 1, 12, tzinfo=UTC))
    memory = memory_at(times)
    memory.begin(memory.new_history(), whole_day=True)
    memory.remember(result(1, times.wall, evaluation=42))
    counts = memory.station_view("s").counts
    assert (counts.ok, counts.not_ok, counts.not_decidable) == (0, 0, 1)


def test_ages_follow_the_devices_own_clock() -> None:
    times = Times(datetime(2026, 3, 1, 12, tzinfo=UTC))
    memory = memory_at(times)
    memory.seen(device(time=times.wall - timedelta(hours=3)), (), ())
    times.pass_by(5)
    assert datetime(2026, 3, 1, 9, 0, 5, tzinfo=UTC) == memory.view().now
