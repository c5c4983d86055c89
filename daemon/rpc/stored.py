"""Stored results as the gRPC services need them: searches that the store's index helps, bounded in rows.

The store narrows by station, part, verdict and decision time; every comparison is then checked row by
row, so that the meaning of a filter is that of `filter.matches` and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lineside.daemon.rpc.filter import Comparison, Operator, matches
from lineside.daemon.rpc.ports import EvidenceGone, Found
from lineside.daemon.store import Store
from lineside.daemon.store.errors import EvidenceUnavailable
from lineside.daemon.store.queries import ResultFilter
from lineside.daemon.values import Result, Verdict

BATCH = 200
MOST_ROWS = 5000  # looked at for one page: a filter that fits nothing must not hold a thread for minutes
_TICK = timedelta(microseconds=1)
_LAST = datetime.max.replace(tzinfo=UTC)


class StoredResults:
    """`ReadsResults` over the real store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def last_sequence(self) -> int:
        """Sequence of the newest result; 0 before the first."""
        return self._store.last_sequence()

    def since(self, sequence: int, limit: int) -> Sequence[Result]:
        """At most `limit` results with a greater sequence, in order."""
        return self._store.since(sequence, limit)

    def wait_beyond(self, sequence: int, timeout_s: float) -> bool:
        """Waits until there is a result with a greater sequence."""
        return self._store.wait_beyond(sequence, timeout_s)

    def get(self, result_id: str) -> Result | None:
        """The result of that id, or None."""
        return self._store.get(result_id)

    def read_evidence(self, evidence_id: str) -> bytes:
        """The whole file. Raises EvidenceGone."""
        try:
            return self._store.read_evidence(evidence_id)
        except (EvidenceUnavailable, ValueError) as error:
            raise EvidenceGone(str(error)) from error

    def find(
        self, comparisons: tuple[Comparison, ...], *, page_size: int, before_sequence: int | None
    ) -> Found:
        """One page of a search, newest first."""
        wanted = narrowed(comparisons)
        least, before = _sequences(comparisons, before_sequence)
        # One more than asked for tells whether there is a next page.
        batch = page_size + 1 if not comparisons else BATCH
        page: list[Result] = []
        looked_at = 0
        while looked_at < MOST_ROWS:
            rows = self._store.find(wanted, batch, before)
            for row in rows:
                if row.sequence < least:
                    return Found(tuple(page), None)
                if matches(row, comparisons):
                    if len(page) == page_size:
                        return Found(tuple(page), page[-1].sequence)
                    page.append(row)
            if len(rows) < batch:
                return Found(tuple(page), None)
            before = rows[-1].sequence
            looked_at += len(rows)
        return Found(tuple(page), before)


def narrowed(comparisons: tuple[Comparison, ...]) -> ResultFilter:
    """What the store can narrow by: a superset of what all comparisons choose."""
    wanted = ResultFilter()
    for comparison in comparisons:
        value, operator = comparison.value, comparison.operator
        match comparison.field, value:
            case "station", str() if operator is Operator.EQUAL:
                wanted = replace(wanted, station=value)
            case "part_id", str() if operator is Operator.EQUAL:
                wanted = replace(wanted, part_id=value)
            case "evaluation", Verdict() if operator is Operator.EQUAL:
                wanted = replace(wanted, verdict=value)
            case "decide_time", datetime():
                wanted = _within(wanted, operator, value)
            case _:
                pass
    return wanted


def _within(wanted: ResultFilter, operator: Operator, at: datetime) -> ResultFilter:
    if operator in {Operator.GREATER, Operator.GREATER_EQUAL, Operator.EQUAL}:
        wanted = replace(wanted, since=at if wanted.since is None else max(wanted.since, at))
    if operator in {Operator.LESS, Operator.LESS_EQUAL, Operator.EQUAL} and at < _LAST:
        end = at + _TICK  # the store's end is exclusive
        wanted = replace(wanted, until=end if wanted.until is None else min(wanted.until, end))
    return wanted


def _sequences(comparisons: tuple[Comparison, ...], before: int | None) -> tuple[int, int | None]:
    """The least sequence that can fit, and the one before which to begin."""
    least, end = 0, before
    for comparison in comparisons:
        if comparison.field != "sequence" or not isinstance(comparison.value, int):
            continue
        at = comparison.value
        highest: int | None = None
        match comparison.operator:
            case Operator.EQUAL:
                least, highest = max(least, at), at
            case Operator.GREATER | Operator.GREATER_EQUAL:
                least = max(least, at)
            case Operator.LESS | Operator.LESS_EQUAL:
                highest = at
            case Operator.NOT_EQUAL:
                pass
        if highest is not None:
            end = highest + 1 if end is None else min(end, highest + 1)
    return least, end
