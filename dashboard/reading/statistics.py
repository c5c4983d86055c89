"""Shares, charts and rules of quality statistics: pure functions of counts. Knows no database and no page.

Sources: Clopper and Pearson 1934 (exact interval of a share); Wilson 1927 (in `present`); Shewhart's p-chart
with limits of three standard deviations for each subgroup's own size; Laney 2002 (p', when shares vary more
than chance allows); the runs of the Western Electric handbook 1956 and Nelson 1984.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LIKELIHOOD = 0.95


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b) for a, b > 0 and 0 <= x <= 1 (Lentz's fraction)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    tiny = 1e-300
    c, d = 1.0, 1.0 / max(1.0 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 10_000):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + factor * d
            c = 1.0 + factor / c
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) * value / a


def clopper_pearson(part: int, total: int, likelihood: float = LIKELIHOOD) -> tuple[float, float]:
    """The exact interval of `part` out of `total`: covers the true share at least `likelihood` of the time.

    Raises:
        ValueError: not 0 <= part <= total with a total of at least one.
    """
    if not 0 <= part <= total or total < 1:
        raise ValueError(f"{part} out of {total} is no share")
    tail = (1 - likelihood) / 2
    low = 0.0 if part == 0 else _beta_quantile(tail, part, total - part + 1)
    high = 1.0 if part == total else _beta_quantile(1 - tail, part + 1, total - part)
    return low, high


def _beta_quantile(q: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if incomplete_beta(a, b, middle) < q:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One point of a chart: `k` of `n` parts."""

    n: int
    k: int

    @property
    def share(self) -> float:
        """k / n; 0 without parts."""
        return self.k / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """A subgroup on the chart: its share, its own limits, and the rules it breaks (1, 2, 3, 4, 5, 6)."""

    n: int
    k: int
    share: float
    low: float
    high: float
    rules: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A p-chart. `spread`: how much wider than chance the shares vary (Laney's sigma of z); 1 is chance.

    With `widened`, limits are Laney's: the plain ones would raise alarms at large n that mean nothing.
    """

    centre: float
    points: tuple[Point, ...]
    spread: float
    widened: bool


WIDEN_ABOVE = 1.3
"""Spread from which limits are Laney's."""
FEWEST_POINTS = 8
"""Points from which a spread may be told at all."""


def p_chart(subgroups: Sequence[Subgroup]) -> Chart:
    """The p-chart of subgroups in their order, with limits for each one's own n; empty ones are left out.

    Limits are centre ± 3·sqrt(centre(1−centre)/n), never below 0 or above 1.
    """
    taken = [s for s in subgroups if s.n > 0]
    total = sum(s.n for s in taken)
    centre = sum(s.k for s in taken) / total if total else 0.0
    scores = [_score(s, centre) for s in taken]
    spread = _spread(scores) if len(taken) >= FEWEST_POINTS and 0 < centre < 1 else 1.0
    widened = spread > WIDEN_ABOVE
    factor = spread if widened else 1.0
    broken = run_rules([z / factor for z in scores])
    points = []
    for group, rules in zip(taken, broken, strict=True):
        reach = 3 * factor * math.sqrt(centre * (1 - centre) / group.n)
        points.append(
            Point(group.n, group.k, group.share, max(0.0, centre - reach), min(1.0, centre + reach), rules)
        )
    return Chart(centre, tuple(points), spread, widened)


def _score(group: Subgroup, centre: float) -> float:
    sigma = math.sqrt(centre * (1 - centre) / group.n)
    return (group.share - centre) / sigma if sigma > 0 else 0.0


def _spread(scores: Sequence[float]) -> float:
    moves = [abs(b - a) for a, b in itertools.pairwise(scores)]
    return sum(moves) / len(moves) / 1.128 if moves else 1.0


def run_rules(scores: Sequence[float]) -> tuple[tuple[int, ...], ...]:
    """Which rules each point completes, from its distance to the centre in standard deviations.

    1: beyond 3. 2: nine in a row on one side. 3: six in a row rising or falling. 4: fourteen in a row up and
    down in turn. 5: two of three beyond 2 on one side. 6: four of five beyond 1 on one side. (Nelson 1 to 6.)
    """
    return tuple(
        tuple(number for number, rule in enumerate(RULES, 1) if rule(scores[max(0, i - 13) : i + 1]))
        for i in range(len(scores))
    )


def _beyond(z: Sequence[float]) -> bool:
    return abs(z[-1]) > 3


def _one_side(z: Sequence[float]) -> bool:
    last = z[-9:]
    return len(last) == 9 and (all(x > 0 for x in last) or all(x < 0 for x in last))


def _trend(z: Sequence[float]) -> bool:
    last = z[-6:]
    steps = [b - a for a, b in itertools.pairwise(last)]
    return len(last) == 6 and (all(s > 0 for s in steps) or all(s < 0 for s in steps))


def _in_turn(z: Sequence[float]) -> bool:
    last = z[-14:]
    steps = [b - a for a, b in itertools.pairwise(last)]
    return len(last) == 14 and all(a * b < 0 for a, b in itertools.pairwise(steps))


def _some_beyond(z: Sequence[float], most: int, needed: int, limit: float) -> bool:
    last = z[-most:]
    above, below = sum(x > limit for x in last), sum(x < -limit for x in last)
    # The point itself must be one of them: a rule is broken when it is completed, not for long after.
    return (above >= needed and z[-1] > limit) or (below >= needed and z[-1] < -limit)


RULES: tuple[Callable[[Sequence[float]], bool], ...] = (
    _beyond,
    _one_side,
    _trend,
    _in_turn,
    lambda z: _some_beyond(z, 3, 2, 2.0),
    lambda z: _some_beyond(z, 5, 4, 1.0),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a Pareto chart; `cumulative` is the share of all up to and with it."""

    label: str
    n: int
    share: float
    cumulative: float


def pareto(counts: Sequence[tuple[str, int]]) -> tuple[Bar, ...]:
    """The most frequent first, equal ones by name, with running shares of the sum."""
    total = sum(n for _, n in counts)
    bars, so_far = [], 0
    for label, n in sorted(counts, key=lambda one: (-one[1], one[0])):
        if n <= 0:
            continue
        so_far += n
        bars.append(Bar(label, n, n / total, so_far / total))
    return tuple(bars)
