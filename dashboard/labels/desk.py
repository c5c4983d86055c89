"""Writes decisions: with its row in the audit, the counts it changes and the part's new state, each at once.

A decision is never removed: taken back, it is marked, and what it changed is changed back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, delete, select, update
from sqlalchemy.orm import Session

from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Station
from lineside.dashboard.database.quality_tables import ReviewedParts, ReviewSkip
from lineside.dashboard.database.result_tables import Result, Review
from lineside.dashboard.ingest.counts import add
from lineside.dashboard.labels.policy import Policy
from lineside.dashboard.labels.settle import Decision, Settled, State, settle
from lineside.dashboard.people import audit
from lineside.dashboard.people.rights import Person

UNDO_WITHIN = timedelta(minutes=30)
LONGEST_NOTE = 2000
KEY = ("day", "shift", "station_id", "lot", "verdict", "because", "truth")


class RefusedDecision(ValueError):
    """A decision that cannot be taken now; `key` names the words that say why."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass(frozen=True, slots=True)
class Said:
    """What a person decided. `seconds`: from seeing the part to deciding, where it was measured."""

    decision: Decision
    ask: str | None = None
    label: str | None = None
    note: str = ""
    seconds: float | None = None


class Desk:
    """Decides for one person in one transaction."""

    def __init__(
        self, database: Database, session: Session, person: Person, policy: Policy, now: datetime
    ) -> None:
        self._database, self._session, self._person = database, session, person
        self._policy, self._now = policy, now

    def decide(self, result: Result, said: Said, *, engineer: bool) -> Settled:
        """Keeps a decision. A person's earlier one on the same part is taken back by it.

        Raises:
            RefusedDecision: two others have read it, and this person is no engineer there.
        """
        result = self._locked(result.id)
        standing = self._standing(result.id)
        before = _as_stored(result, standing)
        if len({r.user_id for r in standing} - {self._person.id}) > 1 and not engineer:
            raise RefusedDecision("review_engineer_only")
        if result.review == State.NONE:
            result.review_because = "asked"
        mine = [r for r in standing if r.user_id == self._person.id]
        if before.state is not State.DISPUTED:
            # An engineer who was one of two that differ settles it by a third decision, not by another first.
            for old in mine:
                old.undone_at = self._now
                standing.remove(old)
        made = Review(
            result=result.id,
            user_id=self._person.id,
            decision=said.decision.value,
            ask=said.ask[:200] if said.ask else None,
            label=said.label[:200] if said.label else None,
            note=said.note[:LONGEST_NOTE],
            decided_at=self._now,
            seconds=said.seconds,
            is_second=bool(standing),
        )
        self._session.add(made)
        after = self._settled(result, [*standing, made])
        self._move(result, before, after)
        self._session.execute(
            delete(ReviewSkip).where(ReviewSkip.result == result.id, ReviewSkip.user_id == self._person.id)
        )
        told = {"decision": said.decision.value, "label": said.label, "state": after.state.value}
        audit.note(self._session, self._now, self._person.name, "review.decide", result.result_id, told)
        return after

    def undo(self) -> Result | None:
        """Takes back this person's last decision of the last half hour; None where there is none."""
        last = self.last()
        if last is None:
            return None
        result = self._locked(last.result)
        standing = self._standing(result.id)
        before = _as_stored(result, standing)
        last.undone_at = self._now
        after = self._settled(result, [r for r in standing if r.id != last.id])
        if result.review_because == "asked" and after.state is State.WAITING:
            after = Settled(State.NONE)
            result.review_because = ""
        self._move(result, before, after, because=result.review_because or "asked")
        told = {"decision": last.decision, "state": after.state.value}
        audit.note(self._session, self._now, self._person.name, "review.undo", result.result_id, told)
        return result

    def last(self) -> Review | None:
        """The decision that `undo` would take back."""
        found = select(Review).where(
            Review.user_id == self._person.id,
            Review.undone_at.is_(None),
            Review.decided_at >= self._now - UNDO_WITHIN,
        )
        return self._session.scalars(
            found.order_by(Review.decided_at.desc(), Review.id.desc()).limit(1)
        ).first()

    def skip(self, result: Result) -> None:
        """Puts a part at this person's end of the queue."""
        table = cast(Table, ReviewSkip.__table__)
        statement = self._database.insert(table).values(
            user_id=self._person.id, result=result.id, skipped_at=self._now
        )
        self._session.execute(
            statement.on_conflict_do_update(
                index_elements=["user_id", "result"], set_={"skipped_at": statement.excluded.skipped_at}
            )
        )

    def _locked(self, result: int) -> Result:
        found = select(Result).where(Result.id == result).with_for_update()
        return self._session.scalars(found.execution_options(populate_existing=True)).one()

    def _standing(self, result: int) -> list[Review]:
        found = select(Review).where(Review.result == result, Review.undone_at.is_(None))
        return list(self._session.scalars(found.order_by(Review.id)))

    def _settled(self, result: Result, standing: Sequence[Review]) -> Settled:
        return settle(
            result.verdict,
            result.review_because != "",
            [Decision(r.decision) for r in standing],
            second_reader=self._policy.second_reader,
            drawn=self._policy.draws(result.result_id),
        )

    def _move(self, result: Result, before: Settled, after: Settled, because: str | None = None) -> None:
        result.review = after.state.value
        waits = (after.state is State.WAITING) - (before.state is State.WAITING)
        if waits:
            self._session.execute(
                update(Station).where(Station.id == result.station_id).values(waiting=Station.waiting + waits)
            )
        changes: Counter[tuple[Any, ...]] = Counter()
        for settled, n in ((before, -1), (after, 1)):
            if settled.truth is not None:
                changes[self._key(result, settled.truth, because or result.review_because)] += n
        self._session.flush()
        table = cast(Table, ReviewedParts.__table__)
        add(self._database, self._session.connection(), table, KEY, {k: n for k, n in changes.items() if n})

    def _key(self, result: Result, truth: Decision, because: str) -> tuple[Any, ...]:
        day = date.fromisoformat(result.shift[:10])
        return (
            day, result.shift, result.station_id, result.lot or "", result.verdict, because, truth.value,
        )  # fmt: skip


def _as_stored(result: Result, standing: Sequence[Review]) -> Settled:
    """Where a part stands, by the rules of the time at which it came there."""
    state = State(result.review)
    settled = state is State.DONE and bool(standing)
    return Settled(state, Decision(standing[-1].decision) if settled else None)
