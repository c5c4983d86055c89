"""Arithmetic of an evaluation: calibration error, confusion, and errors against review. Pure functions of
records.

Does not know engines, pictures or files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Asked:
    """One question about one crop: the right answer, the given one, how sure and how unfamiliar."""

    right: str
    given: str
    confidence: float
    unfamiliar: float
    severity: float = 0.0

    @property
    def hit(self) -> bool:
        """Whether the whole answer is right."""
        return self.right == self.given


@dataclass(frozen=True)
class Judged:
    """One part after the rules: whether it is good, whether it passed, how doubtful the verdict is."""

    good: bool
    passed: bool
    doubt: float


def accuracy(asked: Sequence[Asked]) -> float:
    """Share of whole answers that are right; of nothing, not a number."""
    return sum(a.hit for a in asked) / len(asked) if asked else float("nan")


def calibration_error(asked: Sequence[Asked], bins: int = 15) -> float:
    """Expected calibration error over equal-width confidence bins."""
    confidence = np.array([a.confidence for a in asked])
    hits = np.array([a.hit for a in asked], dtype=np.float64)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(hits[place == k].mean() - confidence[place == k].mean()) * np.mean(place == k)
        for k in range(bins)
        if np.any(place == k)
    ]
    return float(sum(gaps))


def confusion(asked: Sequence[Asked]) -> dict[str, dict[str, int]]:
    """Counts by right answer, then given answer."""
    table: dict[str, Counter[str]] = {}
    for one in asked:
        table.setdefault(one.right, Counter())[one.given] += 1
    return {right: dict(given) for right, given in sorted(table.items())}


def by_severity(asked: Sequence[Asked]) -> dict[str, dict[str, float | int]]:
    """Accuracy of each graded defect class in the four quarters of severity, the faintest first."""
    found: dict[str, dict[str, float | int]] = {}
    for right in sorted({a.right for a in asked if 0.0 < a.severity < 1.0}):
        graded = [a for a in asked if a.right == right and 0.0 < a.severity < 1.0]
        for quarter in range(4):
            part = [a for a in graded if quarter / 4 <= a.severity < (quarter + 1) / 4]
            if part:
                found[f"{right}, quarter {quarter + 1}"] = {"crops": len(part), "accuracy": accuracy(part)}
    return found


def review_curve(judged: Sequence[Judged], shares: Sequence[float]) -> list[dict[str, float | int]]:
    """Escapes and overkill when the most doubtful `share` of parts goes to review."""
    order = sorted(judged, key=lambda j: -j.doubt)
    bad, good = sum(not j.good for j in judged), sum(j.good for j in judged)
    curve: list[dict[str, float | int]] = []
    for share in shares:
        kept = order[round(share * len(order)) :]
        escapes = sum(j.passed and not j.good for j in kept)
        overkill = sum(j.good and not j.passed for j in kept)
        curve.append(
            {
                "review": share,
                "escapes": escapes,
                "escape_rate": escapes / max(1, bad),
                "overkill": overkill,
                "overkill_rate": overkill / max(1, good),
            }
        )
    return curve
