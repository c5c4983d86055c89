"""How long to wait before a camera that went away is opened again. Pure."""

from __future__ import annotations

FIRST_S = 0.5
LONGEST_S = 10.0


def delay_s(failures: int) -> float:
    """Doubles with each failure in a row (1 is the first), up to `LONGEST_S`."""
    return min(FIRST_S * 2.0 ** min(failures - 1, 30), LONGEST_S)
