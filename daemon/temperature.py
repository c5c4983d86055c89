"""How hot this machine is, from the kernel's thermal zones."""

from __future__ import annotations

from pathlib import Path

BELIEVABLE_C = (-40.0, 150.0)


def celsius(file: Path) -> float | None:
    """A file of millidegrees in degrees Celsius; None where a zone is off, or says what cannot be."""
    try:
        value = int(file.read_text()) / 1000
    except (OSError, ValueError):
        return None
    return value if BELIEVABLE_C[0] <= value <= BELIEVABLE_C[1] else None


def hottest_c(root: Path = Path("/")) -> float | None:
    """The hottest zone, degrees Celsius; None where the machine shows no temperature."""
    zones = (root / "sys/class/thermal").glob("thermal_zone*")
    return max((found for zone in zones if (found := celsius(zone / "temp")) is not None), default=None)
