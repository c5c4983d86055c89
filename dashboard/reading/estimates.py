"""What reviews say about the line: how many bad parts passed, and how many good ones were thrown out.

Parts are judged OK, NOT_OK or NOT_DECIDABLE (the strata); of each stratum people have settled some. The share
of bad parts among the settled ones stands for its stratum. A rate of what nobody reviewed is not told. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lineside.dashboard.reading.statistics import LIKELIHOOD, clopper_pearson


@dataclass(frozen=True, slots=True)
class Stratum:
    """Parts of one verdict: how many there were, how many were settled as good and as bad."""

    judged: int = 0
    good: int = 0
    bad: int = 0

    @property
    def reviewed(self) -> int:
        """Settled by people."""
        return self.good + self.bad

    def bad_share(self, likelihood: float) -> tuple[float, float, float] | None:
        """Estimate, lower and upper end of the share of bad parts; None where nothing was reviewed.

        Where every part was reviewed nothing is estimated: the share is known.
        """
        if self.judged == 0:
            return 0.0, 0.0, 0.0
        if self.reviewed == 0:
            return None
        share = self.bad / self.reviewed
        if self.reviewed >= self.judged:
            return share, share, share
        low, high = clopper_pearson(self.bad, self.reviewed, likelihood)
        return share, low, high


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate with its interval, and how many reviewed parts it rests on. `share` None: not to be told."""

    share: float | None
    low: float = 0.0
    high: float = 1.0
    n: int = 0


@dataclass(frozen=True, slots=True)
class Escapes:
    """What is to be told of a period. `passed_bad`: bad parts among those that passed as OK."""

    strata: Mapping[str, Stratum]
    passed_bad: Estimate
    escape: Estimate
    overkill: Estimate

    @property
    def reviewed(self) -> int:
        """All parts settled by people."""
        return sum(s.reviewed for s in self.strata.values())


def escapes(ok: Stratum, not_ok: Stratum, undecided: Stratum) -> Escapes:
    """Escape rate (bad parts called OK, of all bad) and overkill (good parts called NG, of all good).

    Each stratum's share gets a third of the doubt, so that the intervals of the rates, which rise and fall
    with the shares one way only, hold with at least 95 % together.
    """
    strata = (ok, not_ok, undecided)
    shares = [s.bad_share(1 - (1 - LIKELIHOOD) / 3) for s in strata]
    n = sum(s.reviewed for s in strata)
    alone = ok.bad_share(LIKELIHOOD) if ok.judged else None
    return Escapes(
        strata={"OK": ok, "NOT_OK": not_ok, "NOT_DECIDABLE": undecided},
        passed_bad=Estimate(*alone, n=ok.reviewed) if alone else Estimate(None),
        escape=_escape([s.judged for s in strata], shares, n),
        overkill=_overkill([s.judged for s in strata], shares, n),
    )


Shares = list[tuple[float, float, float] | None]


def _escape(judged: list[int], shares: Shares, n: int) -> Estimate:
    ok, ng, nd = shares
    if ok is None or ng is None or nd is None:
        return Estimate(None, n=n)

    def rate(a: float, b: float, c: float) -> float | None:
        return _part(judged[0] * a, judged[1] * b + judged[2] * c)

    low, high = rate(ok[1], ng[2], nd[2]), rate(ok[2], ng[1], nd[1])
    return _told(rate(ok[0], ng[0], nd[0]), low, high, n)


def _overkill(judged: list[int], shares: Shares, n: int) -> Estimate:
    ok, ng, nd = shares
    if ok is None or ng is None or nd is None:
        return Estimate(None, n=n)

    def rate(a: float, b: float, c: float) -> float | None:
        return _part(judged[1] * (1 - b), judged[0] * (1 - a) + judged[2] * (1 - c))

    # Few bad ones among the NG and many among the rest make the overkill large.
    low, high = rate(ok[1], ng[2], nd[1]), rate(ok[2], ng[1], nd[2])
    return _told(rate(ok[0], ng[0], nd[0]), low, high, n)


def _part(part: float, rest: float) -> float | None:
    return part / (part + rest) if part + rest > 0 else None


def _told(share: float | None, low: float | None, high: float | None, n: int) -> Estimate:
    if share is None:
        return Estimate(None, n=n)  # no bad (or no good) part at all: no rate of them
    return Estimate(share, 0.0 if low is None else low, 1.0 if high is None else high, n)
