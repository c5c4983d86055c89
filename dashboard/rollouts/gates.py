"""Whether a device that judges with the new engine may go on: its golden parts, then its results for a while.

Health is read from what the follower wrote; golden parts are judged by the device itself, as parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lineside.dashboard.database.fleet_tables import Cursor, Device, Station
from lineside.dashboard.database.quality_tables import GoldenPicture
from lineside.dashboard.database.result_tables import EngineVersion, Result
from lineside.dashboard.database.steering_tables import GoldenPart, GoldenSet
from lineside.dashboard.rollouts.machine import Outcome
from lineside.dashboard.rollouts.steps import Ended
from lineside.v1 import inspections_pb2, results_pb2
from lineside.v1.client import Client

SETTLING_S = 60.0
"""Seconds after which a device must say that it judges with the new engine."""
VERDICTS = {
    results_pb2.RESULT_EVALUATION_OK: "OK",
    results_pb2.RESULT_EVALUATION_NOT_OK: "NOT_OK",
    results_pb2.RESULT_EVALUATION_NOT_DECIDABLE: "NOT_DECIDABLE",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How careful a rollout is; as stored in `rollouts.plan`.

    `watch_s` and `min_results`: how long, and over how many results, a device is watched before it counts as
    good. `max_review`: the largest share of them that may be undecidable. `golden`: whether golden parts are
    judged first. `only_trusted`: whether the device must know who signed the engine.
    """

    watch_s: float = 300.0
    min_results: int = 20
    max_review: float = 0.1
    golden: bool = False
    only_trusted: bool = True

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Plan:
        """From what is stored."""
        return cls(**{name: stored[name] for name in cls.__slots__ if name in stored})

    def write(self) -> dict[str, Any]:
        """As it is stored."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Health:
    """How a device judges with the new engine. `runs_it`: by its word; `failed`: its engine does not run."""

    away: bool
    runs_it: bool
    failed: bool
    watched_s: float
    results: int
    undecidable: int


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden part to be judged at a station."""

    station: str
    evidence_id: str
    verdict: str
    picture: bytes


def judge(health: Health, plan: Plan) -> Ended:
    """Whether a device may stay with the engine; AGAIN while it is too early to tell."""
    if health.away:
        return Ended(Outcome.AGAIN, "the device is away")
    if health.failed:
        return Ended(Outcome.FAILED, "the engine does not run there")
    if not health.runs_it:
        if health.watched_s < SETTLING_S:
            return Ended(Outcome.AGAIN)
        return Ended(Outcome.FAILED, "the device judges with another engine")
    # Too many even if all that come until the count is reached were good: no need to wait for them.
    most = plan.max_review * max(health.results, plan.min_results)
    if health.undecidable > most:
        return Ended(
            Outcome.FAILED,
            f"{health.undecidable} of {health.results} results could not be decided; "
            f"at most {plan.max_review:.0%} may",
        )
    if health.watched_s < plan.watch_s or health.results < plan.min_results:
        return Ended(Outcome.AGAIN)
    return Ended(Outcome.DONE)


def health_of(
    session: Session, device_id: int, digest: str, since: int, began_at: datetime, now: datetime, away: bool
) -> Health:
    """Reads it: results after sequence `since` that this engine judged."""
    device = session.get(Device, device_id)
    if device is None:
        return Health(True, False, False, 0.0, 0, 0)
    history = select(Cursor.history).where(Cursor.device_id == device_id).scalar_subquery()
    counted = session.execute(
        select(Result.verdict, func.count())
        .join(EngineVersion, EngineVersion.id == Result.engine_id)
        .where(Result.device_id == device_id, Result.history == history, Result.sequence > since)
        .where(EngineVersion.digest == digest)
        .group_by(Result.verdict)
    ).all()
    by_verdict: dict[str, int] = dict(counted)
    return Health(
        away=away,
        runs_it=(device.engine or {}).get("digest") == digest,
        failed=device.engine_state == "failed",
        watched_s=max(0.0, (now - began_at).total_seconds()),
        results=sum(by_verdict.values()),
        undecidable=sum(n for verdict, n in by_verdict.items() if verdict not in ("OK", "NOT_OK")),
    )


def golden_parts(session: Session, device_id: int) -> list[Golden]:
    """The golden parts of the recipes by which a device's stations judge."""
    found: list[Golden] = []
    for station in session.scalars(select(Station).where(Station.device_id == device_id, Station.listed)):
        rows = session.execute(
            select(GoldenPart.evidence_id, GoldenPart.verdict, GoldenPicture.data)
            .join(GoldenSet, GoldenSet.id == GoldenPart.golden_set)
            .join(GoldenPicture, GoldenPicture.evidence_id == GoldenPart.evidence_id)
            .where(GoldenSet.recipe == (station.recipe or {}).get("name"), GoldenSet.retired_at.is_(None))
            .order_by(GoldenPart.id)
        )
        found += [Golden(station.station, evidence_id, verdict, data) for evidence_id, verdict, data in rows]
    return found


def judge_golden(
    parts: Sequence[Golden], inspect: Callable[[Golden], str], stopped: Callable[[], bool]
) -> Ended:
    """Has each part judged. A good one may be left to a person, never failed; a bad one may never pass."""
    wrong = 0
    for part in parts:
        if stopped():
            return Ended(Outcome.AGAIN)
        said = inspect(part)
        wrong += said == "OK" if part.verdict == "NOT_OK" else said == "NOT_OK"
    if wrong:
        return Ended(Outcome.FAILED, f"{wrong} of {len(parts)} golden parts were judged wrong")
    return Ended(Outcome.DONE)


def inspector(client: Client, request_id: str) -> Callable[[Golden], str]:
    """Judges golden parts on a device; asked again with the same id it judges none twice."""

    def inspect(part: Golden) -> str:
        request = inspections_pb2.InspectRequest(
            station=f"devices/-/stations/{part.station}",
            part_id=f"golden-{part.evidence_id[:16]}",
            image=part.picture,
            request_id=f"{request_id}-{part.station}-{part.evidence_id[:16]}"[:128],
        )
        answer = client.call(client.inspections.Inspect, request)
        return VERDICTS.get(answer.inspection.evaluation, "NOT_DECIDABLE")

    return inspect


def waves_of(devices: Iterable[int], canaries: int, a_wave: int) -> dict[int, int]:
    """Which device goes in which wave: the first ones as canaries, the others in waves of so many."""
    ordered = list(devices)
    return {
        device: 0 if n < canaries else 1 + (n - canaries) // max(1, a_wave)
        for n, device in enumerate(ordered)
    }
