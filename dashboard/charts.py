"""Charts as numbers to draw: where points, limits and bars lie. Pure; the template draws SVG with them.

What a chart says it says by shape and number: points that break a rule are squares with the rule's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineside.dashboard.reading.quality import Moment
from lineside.dashboard.reading.statistics import Bar, Chart

WIDTH, HEIGHT = 960.0, 264.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 12.0, 28.0, 28.0
MOST_BARS = 12
FEWEST_NAMES_APART = 64.0


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of the chart; `rules` name what it breaks."""

    x: float
    y: float
    rules: str
    said: Moment
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Note:
    """A line across the chart where something began. `level`: which of two rows its words stand in."""

    x: float
    words: str
    level: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A p-chart ready to draw. Paths are SVG; `ticks` are (y, share), `names` are (x, words)."""

    dots: tuple[Dot, ...]
    line: str
    upper: str
    lower: str
    centre_y: float
    ticks: tuple[tuple[float, float], ...]
    names: tuple[tuple[float, str], ...]
    notes: tuple[Note, ...]
    shift_lines: tuple[float, ...]


def p_drawing(chart: Chart, moments: Sequence[Moment]) -> Drawing:
    """Places a chart whose points are those of `moments` that have parts."""
    shown = [m for m in moments if m.counts.total]
    top = max((max(p.share, p.high) for p in chart.points), default=0.0) or 0.01
    top = nice(top)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(shown))

    def y(share: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share / top), 1)

    def x(place: float) -> float:
        return round(LEFT + step * (place + 0.5), 1)

    dots = tuple(
        Dot(x(i), y(p.share), " ".join(map(str, p.rules)), m, p.share, p.low, p.high)
        for i, (p, m) in enumerate(zip(chart.points, shown, strict=True))
    )
    notes: list[Note] = []
    for i, moment in enumerate(shown):
        if moment.began:
            notes.append(Note(x(i - 0.5), ", ".join(moment.began), len(notes) % 2))
    names, last = [], -FEWEST_NAMES_APART
    for i, moment in enumerate(shown):
        if x(i) - last >= FEWEST_NAMES_APART:
            names.append((x(i), moment.name))
            last = x(i)
    return Drawing(
        dots=dots,
        line="M" + "L".join(f"{d.x} {d.y}" for d in dots) if dots else "",
        upper=_steps([(x(i - 0.5), x(i + 0.5), y(p.high)) for i, p in enumerate(chart.points)]),
        lower=_steps([(x(i - 0.5), x(i + 0.5), y(p.low)) for i, p in enumerate(chart.points)]),
        centre_y=y(chart.centre),
        ticks=tuple((y(top * n / 4), top * n / 4) for n in range(5)),
        names=tuple(names),
        notes=tuple(notes),
        shift_lines=tuple(x(i - 0.5) for i in range(1, len(shown)) if shown[i].shift != shown[i - 1].shift),
    )


def pareto_bars(bars: Sequence[Bar]) -> tuple[tuple[Bar, ...], int]:
    """The bars to draw, and how many labels are left out."""
    return tuple(bars[:MOST_BARS]), max(0, len(bars) - MOST_BARS)


def nice(top: float) -> float:
    """The next round share at or above one, so that ticks are round: 1, 2 or 4 times a power of ten."""
    power = 1.0
    while power > top:
        power /= 10
    return next((power * n for n in (1, 2, 4, 8, 10) if power * n >= top - 1e-12), power * 10)


def _steps(runs: Sequence[tuple[float, float, float]]) -> str:
    return "".join(f"{'M' if i == 0 else 'L'}{a} {y}L{b} {y}" for i, (a, b, y) in enumerate(runs))
