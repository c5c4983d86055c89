"""A follower brings every result once, whatever happens to the device in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from lineside.dashboard.devices.fleet import Fleet
from lineside.dashboard.devices.memory import Contact, DeviceMemory

Follow = Callable[..., Fleet]
Wait = Callable[[Callable[[], bool], str], None]


def sequences(memory: DeviceMemory, station: str = "st1") -> list[int]:
    return [r.sequence for r in memory.station_view(station).results]


def test_a_killed_device_comes_back_and_nothing_is_missed_or_doubled(
    device: Any, make: ModuleType, follow: Follow, wait_until: Wait
) -> None:
    for n in range(1, 4):
        device.store(make.inspection(n))
    memory = follow(device).devices[0].memory
    wait_until(lambda: sequences(memory) == [1, 2, 3], "the history is there")
    for _ in range(3):
        device.store(make.inspection(100 + device._stored[-1].sequence))
        last = device._stored[-1].sequence
        wait_until(lambda last=last: sequences(memory)[-1:] == [last], "a live result came")
        device.stop()
        wait_until(lambda: memory.view().contact is Contact.SILENT, "the device is silent")
        device.store(make.inspection(200 + last))
        device.store(make.inspection(300 + last, make.NOT_OK, label="cracked"))
        device.start()
        newest = last + 2
        wait_until(lambda newest=newest: sequences(memory)[-1:] == [newest], "what was stored meanwhile came")
        wait_until(lambda: memory.view().contact is Contact.LIVE, "the device is live again")
    assert list(range(1, 13)) == sequences(memory)
    counts = memory.station_view("st1").counts
    assert (counts.ok, counts.not_ok, counts.not_decidable) == (9, 3, 0)
    assert sorted(device.watches) == device.watches
    assert len([w for w in device.watches if w == 3]) == 1


def test_a_dashboard_that_starts_late_reads_the_history_once(
    device: Any, make: ModuleType, follow: Follow, wait_until: Wait
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1, hours=1)
    for n in range(1, 431):
        device.store(make.inspection(n, when=yesterday if n <= 20 else None))
    memory = follow(device).devices[0].memory
    wait_until(lambda: len(sequences(memory)) == 60, "the strip is full")
    assert list(range(371, 431)) == sequences(memory)
    counts = memory.station_view("st1").counts
    assert counts.total == 410
    assert counts.since is None
    assert device.watches == [430]


def test_a_device_that_was_replaced_begins_anew(
    device: Any, make: ModuleType, follow: Follow, wait_until: Wait
) -> None:
    for n in range(1, 8):
        device.store(make.inspection(n))
    memory = follow(device).devices[0].memory
    wait_until(lambda: sequences(memory)[-1:] == [7], "the history is there")
    device.stop()
    device.forget_everything()
    device.store(make.inspection(50))
    device.start()
    wait_until(lambda: sequences(memory) == [1], "only the new device's result is shown")
    assert memory.station_view("st1").counts.total == 1


def test_stations_are_kept_apart(device: Any, make: ModuleType, follow: Follow, wait_until: Wait) -> None:
    device.store(make.inspection(1, station="st1"))
    device.store(make.inspection(2, station="st2"))
    memory = follow(device).devices[0].memory
    wait_until(lambda: memory.cursor == 2, "both came")
    assert (sequences(memory, "st1"), sequences(memory, "st2")) == ([1], [2])
    assert memory.station_names() == ("st1", "st2")


def test_a_device_that_is_not_there_yet_is_never_and_then_live(
    make: ModuleType, follow: Follow, wait_until: Wait
) -> None:
    device = make.ScriptedDevice()
    device.start()
    device.stop()
    memory = follow(device).devices[0].memory
    wait_until(lambda: memory.view().trouble != "", "the trouble is said")
    assert memory.view().contact is Contact.NEVER
    device.start()
    wait_until(lambda: memory.view().contact is Contact.LIVE, "the device is live")
    device.stop()


def test_closing_the_fleet_ends_its_threads(device: Any, follow: Follow) -> None:
    fleet = follow(device)
    followed = fleet.devices[0]
    assert followed._follower._thread.is_alive()
    fleet.close()
    assert not followed._follower._thread.is_alive()
    assert not followed._probe._thread.is_alive()
