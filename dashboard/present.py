"""How values look: shape and word of a verdict, digits, ages and times in the reader's language.

Pure functions of values; everything that comes from outside is left to the template to escape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache

from lineside.dashboard.devices.recipes import RecipeCard
from lineside.dashboard.devices.values import Box, Counts, Evidence, Outcome, Result, Verdict
from lineside.dashboard.texts import LANGUAGES, text

CLASSES: Mapping[Verdict, str] = {
    Verdict.OK: "ok",
    Verdict.NOT_OK: "not_ok",
    Verdict.NOT_DECIDABLE: "not_decidable",
    Verdict.UNKNOWN: "unknown",
}
"""CSS class, icon name and text key of a verdict: one word everywhere."""

MOST_BARS = 6
"""Answers drawn for one question; what is left is counted."""
MARGIN = 0.2
"""Of the part's larger side, shown around it."""
LONGEST_PART_ID = 80
QUIET_AFTER_S = 30.0
"""Without a new part for this long, the newest verdict is shown hollow: it is the last, not the present."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One answer of a question. `share` is 0 to 1."""

    label: str
    share: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class Question:
    """One question as drawn: the likeliest answers as bars; a reading as text."""

    ask: str
    words: str
    value: str
    confidence: float
    bars: tuple[Bar, ...]
    left_out: int
    familiarity: float | None
    kind: str
    tone: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle over the picture, in the picture's pixels. `tone` is a verdict class or `region`."""

    x: float
    y: float
    width: float
    height: float
    label: str
    tone: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """A picture with its marks. `view` is what of it to show: x, y, width, height in its pixels.

    `unit` is the text height that suits `view`, in the picture's pixels.
    """

    evidence: Evidence
    view: tuple[float, float, float, float]
    unit: float
    marks: tuple[Mark, ...]


class Presenter:
    """Formats for one reader: a language and a time zone (None: the machine's own)."""

    def __init__(self, language: str, zone: tzinfo | None) -> None:
        self.language, self.zone = language, zone

    def t(self, key: str, **values: object) -> str:
        """The words of a key."""
        return text(self.language, key, **values)

    def reason(self, code: str) -> str:
        """A reason code in words; the code itself where it is newer than this software."""
        words = LANGUAGES[self.language].get(f"reason_{code}")
        return words if words is not None else short(code, 24)

    def before(self, key: str, placeholder: str) -> str:
        """The words of a key before its placeholder, for a template that draws the placeholder itself."""
        return LANGUAGES[self.language][key].partition("{" + placeholder + "}")[0]

    def after(self, key: str, placeholder: str) -> str:
        """The words of a key after its placeholder."""
        return LANGUAGES[self.language][key].partition("{" + placeholder + "}")[2]

    def number(self, value: float, digits: int = 0) -> str:
        """Digits with the language's separators; a dash for what is not a number."""
        if not math.isfinite(value):
            return "–"
        plain = f"{value:,.{digits}f}"
        table = str.maketrans({",": self.t("thousands"), ".": self.t("decimal")})
        return plain.translate(table)

    def probability(self, value: float) -> str:
        """Two digits, rounded down, so that 0.999 is never shown as certain."""
        return self.number(math.floor(min(1.0, max(0.0, value)) * 100 + 1e-9) / 100, 2)

    def age(self, seconds: float | None) -> str:
        """`12 s`, `3 min`, `2 h 5 min`, `4 d 2 h`; a dash for none."""
        if seconds is None or not math.isfinite(seconds):
            return "–"
        s = max(0, int(seconds))
        if s < 60:
            return self.t("age_s", n=s)
        if s < 3600:
            return self.t("age_min", n=s // 60)
        if s < 86400:
            return self.t("age_h", n=s // 3600, m=s % 3600 // 60)
        return self.t("age_d", n=s // 86400, h=s % 86400 // 3600)

    def clock(self, when: datetime | None, *, precise: bool = False) -> str:
        """Local time of day, to the second or the millisecond."""
        if when is None:
            return "–"
        local = when.astimezone(self.zone)
        words = f"{local:%H:%M:%S}"
        return f"{words}{self.t('decimal')}{local.microsecond // 1000:03d}" if precise else words

    def minute(self, when: datetime | None) -> str:
        """Local time of day, to the minute."""
        return f"{when.astimezone(self.zone):%H:%M}" if when else "–"

    def moment(self, when: datetime | None) -> str:
        """Local date and time with the zone, to the millisecond."""
        if when is None:
            return "–"
        local = when.astimezone(self.zone)
        return f"{local:%Y-%m-%d} {self.clock(when, precise=True)} {local:%Z}"

    def zone_name(self, now: datetime) -> str:
        """The zone's short name at `now`."""
        return f"{now.astimezone(self.zone):%Z}"

    def share(self, part: int, counts: Counts) -> str:
        """A share of the parts in percent; a dash without parts."""
        return f"{self.number(100 * part / counts.total, 1)} %" if counts.total else "–"

    def interval(self, part: int, counts: Counts) -> str:
        """The 95 % interval of a share, as `3.4–17.0`; empty without parts."""
        if not counts.total:
            return ""
        low, high = wilson(part, counts.total)
        return f"{self.number(100 * low, 1)}–{self.number(100 * high, 1)}"


def wilson(part: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of `part` out of `total` (at least one): holds for rare events as well."""
    z = 1.959964
    share = part / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


STRIP_CELLS = {
    "o": ("ok", 19, 5),
    "n": ("not_ok", 0, 24),
    "r": ("not_decidable", 10, 14),
    "u": ("unknown", 10, 14),
}
"""A verdict in a strip's picture: its class, where it begins from the top, and how high it is."""


@lru_cache(maxsize=4096)
def strip_paths(letters: str, most: int) -> tuple[tuple[str, str], ...]:
    """A strip of verdicts as one path a class, newest at the right; four wide, six apart, 24 high."""
    paths: dict[str, list[str]] = {}
    for place, letter in enumerate(letters[-most:], most - min(most, len(letters))):
        kind, top, height = STRIP_CELLS.get(letter, STRIP_CELLS["u"])
        paths.setdefault(kind, []).append(f"M{place * 6} {top}h4v{height}h-4z")
    return tuple((kind, "".join(cells)) for kind, cells in paths.items())


def css_class(verdict: Verdict) -> str:
    """CSS class, icon and text key of a verdict."""
    return CLASSES[verdict]


def short(words: str, most: int = LONGEST_PART_ID) -> str:
    """At most `most` characters, with an ellipsis for the rest and no control characters."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def headline(result: Result) -> tuple[str, float] | None:
    """The one finding to say beside the verdict: the surest defect, with its confidence."""
    defects = [f for f in result.findings if f.is_defect]
    if not defects:
        return None
    worst = max(defects, key=lambda f: f.confidence)
    return worst.label, worst.confidence


def questions(result: Result, card: RecipeCard) -> tuple[Question, ...]:
    """Every question of a result as drawn, in the recipe's order."""
    defects = {f.ask for f in result.findings if f.is_defect}
    blamed = {r.ask for r in result.reasons if r.ask}
    return tuple(_question(o, card, defects, blamed, result) for o in result.outcomes)


def overlay(result: Result, *, near: bool = False) -> Overlay | None:
    """The judged frame with regions, part and findings drawn; a bare crop where no frame was kept.

    `near` shows the part with what is around it instead of the whole frame, where the part was located.
    """
    frame = result.frame
    if frame is None or frame.width <= 0 or frame.height <= 0:
        crop = result.crop
        if crop is None or crop.width <= 0 or crop.height <= 0:
            return None
        return Overlay(crop, (0.0, 0.0, float(crop.width), float(crop.height)), _unit(crop.width), ())
    tones = {f.ask: "not_ok" for f in result.findings if f.is_defect}
    for reason in result.reasons:
        tones.setdefault(reason.ask, css_class(result.verdict))
    boxes: dict[Box, tuple[str, str]] = {}
    if result.part_box is not None:
        boxes.setdefault(result.part_box, ("", "part"))
    for outcome in result.outcomes:
        if outcome.box is not None and outcome.box != (0.0, 0.0, 1.0, 1.0):
            tone = tones.get(outcome.ask, "region")
            # The answer stands beside the picture: over it, only what is wrong is spelt out.
            words = outcome.ask if tone == "region" else f"{outcome.ask} {outcome.value}".strip()
            boxes[outcome.box] = (words, tone)
    for finding in result.findings:
        if finding.box is not None and finding.is_defect and finding.box != (0.0, 0.0, 1.0, 1.0):
            boxes[finding.box] = (finding.label, "not_ok")
    marks = tuple(
        sorted(
            (_mark(box, label, tone, frame) for box, (label, tone) in boxes.items()),
            key=lambda mark: mark.tone not in ("part", "region"),
        )
    )
    part = result.part_box if near else None
    view = _around(part, frame) if part else (0.0, 0.0, float(frame.width), float(frame.height))
    return Overlay(frame, view, _unit(view[2]), marks)


def latest_not_ok(results: Sequence[Result], most: int) -> tuple[Result, ...]:
    """The newest results that are not OK, newest first."""
    return tuple(r for r in reversed(results) if r.verdict is not Verdict.OK)[:most]


def age_of(result: Result, now: datetime) -> float | None:
    """Seconds since the verdict fell, never negative (the device's clock may be ahead)."""
    return max(0.0, (now - result.decided_at).total_seconds()) if result.decided_at else None


def _question(
    outcome: Outcome, card: RecipeCard, defects: set[str], blamed: set[str], result: Result
) -> Question:
    bars = tuple(
        Bar(short(label, 24), min(1.0, max(0.0, p)), label == outcome.value)
        for label, p in outcome.probabilities[:MOST_BARS]
    )
    if not bars and outcome.value:
        # A reading has no distribution: the answer and the next best one, where it is known.
        bars = (Bar(short(outcome.value, 24), min(1.0, max(0.0, outcome.confidence)), chosen=True),)
        if outcome.runner_up is not None and math.isfinite(outcome.runner_up[1]):
            value, p = outcome.runner_up
            bars = (*bars, Bar(short(value, 24), min(1.0, max(0.0, p)), chosen=False))
    if outcome.ask in defects:
        tone = "not_ok"
    elif outcome.ask in blamed:
        tone = css_class(result.verdict)
    else:
        tone = "calm"
    return Question(
        ask=short(outcome.ask, 40),
        words=short(card.questions.get(outcome.ask, ""), 160),
        value=short(outcome.value, 40),
        confidence=outcome.confidence,
        bars=bars,
        left_out=max(0, len(outcome.probabilities) - MOST_BARS),
        familiarity=outcome.familiarity,
        kind=outcome.kind,
        tone=tone,
    )


def _mark(box: Box, label: str, tone: str, picture: Evidence) -> Mark:
    x0, y0, x1, y1 = box
    return Mark(
        x=round(x0 * picture.width, 1),
        y=round(y0 * picture.height, 1),
        width=round((x1 - x0) * picture.width, 1),
        height=round((y1 - y0) * picture.height, 1),
        label=short(label, 40),
        tone=tone,
    )


def _around(part: Box, picture: Evidence) -> tuple[float, float, float, float]:
    """The part with a margin, widened to the picture's own shape and kept inside it."""
    x0, y0, x1, y1 = part
    share = min(1.0, max(x1 - x0, y1 - y0) * (1 + 2 * MARGIN))
    left = min(1 - share, max(0.0, (x0 + x1 - share) / 2))
    top = min(1 - share, max(0.0, (y0 + y1 - share) / 2))
    return (
        round(left * picture.width, 1),
        round(top * picture.height, 1),
        round(share * picture.width, 1),
        round(share * picture.height, 1),
    )


def _unit(width: float) -> float:
    return round(width / 52, 1)
