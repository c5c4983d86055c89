"""How long each stage of an inspection took: counted as verdicts are committed, shown as one histogram.

Knows a verdict's timings and nothing else of it.
"""

from __future__ import annotations

import functools
import threading
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import Any, TypeVar, cast

from prometheus_client.metrics_core import HistogramMetricFamily

from lineside.daemon.values import ResultDraft

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MOST_STAGES = 64
"""Stages are few and fixed; should they ever not be, the rest is left out rather than grow for ever."""

C = TypeVar("C", bound=Callable[..., Any])


class Latency:
    """Counts by stage. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observing(self, commit: C) -> C:
        """The same `commit`, with the timings of each draft it is given counted first."""

        @functools.wraps(commit)
        def observed(draft: ResultDraft, *rest: Any, **named: Any) -> Any:
            self.see(draft)
            return commit(draft, *rest, **named)

        return cast(C, observed)

    def see(self, draft: ResultDraft) -> None:
        """Counts one verdict's timings."""
        with self._lock:
            for stage, milliseconds in draft.timings_ms.items():
                if stage not in self._counts and len(self._counts) >= MOST_STAGES:
                    continue
                counts = self._counts.setdefault(stage, [0] * (len(BUCKETS_S) + 1))
                counts[bisect_left(BUCKETS_S, milliseconds / 1e3)] += 1
                self._sums[stage] = self._sums.get(stage, 0.0) + milliseconds / 1e3

    def family(self) -> HistogramMetricFamily:
        """The histogram as it stands."""
        family = HistogramMetricFamily(
            "lineside_stage_seconds", "Time that inspections spent in a stage", labels=["stage"]
        )
        limits = [*(f"{limit:g}" for limit in BUCKETS_S), "+Inf"]
        with self._lock:
            for stage, counts in sorted(self._counts.items()):
                upto = list(zip(limits, accumulate(counts), strict=True))
                family.add_metric([stage], buckets=upto, sum_value=self._sums[stage])
        return family
