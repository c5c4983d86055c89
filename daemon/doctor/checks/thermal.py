"""Is the device too hot? Read from sysfs; no daemon is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lineside.daemon.doctor.base import Finding, Level, Subject
from lineside.daemon.temperature import celsius

HOT_C, TOO_HOT_C = 85.0, 100.0
"""For zones that name no limits of their own."""
MARGIN_C = 5.0
"""So close to its critical limit a device is about to switch itself off."""


class ThermalCheck:
    """Every thermal zone against its own limits: passive (it gets slower), critical (it switches off)."""

    name = "thermal"
    needs_settings = False

    def run(self, subject: Subject) -> Iterator[Finding]:
        """The worst zone, or that there is none."""
        zones = [
            zone
            for folder in sorted((subject.root / "sys/class/thermal").glob("thermal_zone*"))
            if (zone := self._zone(folder)) is not None
        ]
        if not zones:
            yield Finding(self.name, Level.SKIPPED, "this machine shows no temperature")
            return
        order = (Level.OK, Level.WARNING, Level.FAILED)
        level, _, message = max(zones, key=lambda zone: (order.index(zone[0]), zone[1]))
        step = (
            ""
            if level is Level.OK
            else "free the cooling, or lower the load; frames come later when it is hot"
        )
        yield Finding(self.name, level, message if level is not Level.OK else f"hottest: {message}", step)

    def _zone(self, folder: Path) -> tuple[Level, float, str] | None:
        temperature = celsius(folder / "temp")
        if temperature is None:
            return None  # a zone that is switched off answers with an error
        limits = {
            _text(kind): limit
            for kind in folder.glob("trip_point_*_type")
            if (limit := celsius(folder / kind.name.replace("_type", "_temp"))) is not None
        }
        passive = min((limits[kind] for kind in ("passive", "hot") if kind in limits), default=HOT_C)
        critical = limits.get("critical", TOO_HOT_C)
        message = f"{_text(folder / 'type') or folder.name} at {temperature:.0f} °C"
        if temperature >= critical - MARGIN_C:
            return Level.FAILED, temperature, f"{message}; it switches off at {critical:.0f} °C"
        if temperature >= passive:
            return Level.WARNING, temperature, f"{message}; it gets slower from {passive:.0f} °C"
        return Level.OK, temperature, message


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
