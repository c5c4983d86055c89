"""The hottest believable zone counts; a machine without zones says nothing."""

from __future__ import annotations

from pathlib import Path

from lineside.daemon.temperature import hottest_c


def zone(root: Path, number: int, told: str) -> None:
    folder = root / "sys/class/thermal" / f"thermal_zone{number}"
    folder.mkdir(parents=True)
    (folder / "temp").write_text(told)


def test_the_hottest_believable_zone_counts(tmp_path: Path) -> None:
    assert hottest_c(tmp_path) is None
    for number, told in enumerate(("41500\n", "63250\n", "-256000\n", "9999999\n", "no number\n")):
        zone(tmp_path, number, told)
    assert hottest_c(tmp_path) == 63.25
