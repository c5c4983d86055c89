"""Results, what they were judged by, and the counts that pages read instead of counting.

One row per result; the whole record as the device sent it lies beside it, so that charts and lists never
read past it. Rows of a result are written once, by the following process.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from lineside.dashboard.database.base import Base, BigId

UNSENT_REVIEW = (
    "refused = '' AND ((sent_at IS NULL AND undone_at IS NULL) OR "
    "(sent_at IS NOT NULL AND undone_at IS NOT NULL AND undo_sent_at IS NULL))"
)
OPEN_REVIEW = "review IN ('waiting', 'second', 'disputed')"
"""As the index is written: a query that should use it says the same, in the same words."""


def _partly(name: str, *columns: str, where: str) -> Index:
    """An index over some rows only, on both databases."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


class RecipeVersion(Base):
    """A recipe version that some device judged by."""

    __tablename__ = "recipe_versions"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    version: Mapped[int] = mapped_column(BigInteger)  # as the device counts; equal hashes are equal recipes
    hash: Mapped[str] = mapped_column(String(64))
    text: Mapped[str | None] = mapped_column(Text)  # its YAML; None until a device gave it
    first_seen_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("name", "version", "hash"),)


class EngineVersion(Base):
    """An engine that judged; one row of empty words stands for none."""

    __tablename__ = "engine_versions"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    runtime: Mapped[str] = mapped_column(String(64))
    first_seen_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("name", "version", "digest", "runtime"),)


class Result(Base):
    """One result. Unique by the device's sequence, and by its id among the results of a device."""

    __tablename__ = "results"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    result_id: Mapped[str] = mapped_column(String(64))
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"))
    history: Mapped[int]
    sequence: Mapped[int] = mapped_column(BigInteger)
    station_id: Mapped[int] = mapped_column(ForeignKey("stations.id"))
    part_id: Mapped[str] = mapped_column(String(200))
    lot: Mapped[str | None] = mapped_column(String(200))
    verdict: Mapped[str] = mapped_column(String(16))
    defect: Mapped[str | None] = mapped_column(String(200))  # the surest defect's label
    confidence: Mapped[float | None] = mapped_column(Float)  # the least sure answer's
    recipe_id: Mapped[int] = mapped_column(ForeignKey("recipe_versions.id"))
    engine_id: Mapped[int] = mapped_column(ForeignKey("engine_versions.id"))
    shift: Mapped[str] = mapped_column(String(64))
    decided_at: Mapped[datetime]
    received_at: Mapped[datetime]
    total_ms: Mapped[float | None] = mapped_column(Float)
    is_simulated: Mapped[bool]
    clock_synchronised: Mapped[bool]
    chained: Mapped[bool | None]  # whether it names the row before it; None where that one never came
    review: Mapped[str] = mapped_column(String(12))  # none, waiting, second, disputed, done
    review_because: Mapped[str] = mapped_column(String(16))  # verdict, sample, asked; empty for none

    __table_args__ = (
        UniqueConstraint("device_id", "history", "sequence"),
        UniqueConstraint("result_id", "device_id"),
        Index(None, "station_id", "id"),
        Index(None, "station_id", "decided_at"),
        Index(None, "decided_at"),
        # For searching by the beginning of an id as well, whatever the database's collation.
        Index(None, "part_id", postgresql_ops={"part_id": "text_pattern_ops"}),
        _partly("ix_results_lot", "lot", where="lot IS NOT NULL"),
        _partly("ix_results_not_ok", "verdict", "decided_at", where="verdict <> 'OK'"),
        _partly("ix_results_waiting", "station_id", "id", where="review = 'waiting'"),
        _partly("ix_results_open", "review", "id", where=OPEN_REVIEW),
    )


class ResultRecord(Base):
    """The result as the device sent it: a serialized `lineside.v1.Inspection`, zlib-compressed."""

    __tablename__ = "result_records"

    result: Mapped[int] = mapped_column(BigId, ForeignKey("results.id", ondelete="CASCADE"), primary_key=True)
    inspection: Mapped[bytes] = mapped_column(LargeBinary)


class Finding(Base):
    """One named defect or reading, for searching."""

    __tablename__ = "findings"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    result: Mapped[int] = mapped_column(ForeignKey("results.id", ondelete="CASCADE"), index=True)
    ask: Mapped[str] = mapped_column(String(200))
    label: Mapped[str] = mapped_column(String(200))
    is_defect: Mapped[bool]
    confidence: Mapped[float] = mapped_column(Float)
    text: Mapped[str | None] = mapped_column(Text)
    count: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "label", "result"),)


class HourlyVerdicts(Base):
    """How many parts of a station got which verdict in an hour (UTC), by shift, recipe and engine."""

    __tablename__ = "hourly_verdicts"

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    station_id: Mapped[int] = mapped_column(ForeignKey("stations.id"), primary_key=True)
    shift: Mapped[str] = mapped_column(String(64), primary_key=True)
    recipe_id: Mapped[int] = mapped_column(ForeignKey("recipe_versions.id"), primary_key=True)
    engine_id: Mapped[int] = mapped_column(ForeignKey("engine_versions.id"), primary_key=True)
    verdict: Mapped[str] = mapped_column(String(16), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "station_id", "hour"),)


class HourlyDefects(Base):
    """How many parts of a station had which defect in an hour (UTC); a part counts once for each label."""

    __tablename__ = "hourly_defects"

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    station_id: Mapped[int] = mapped_column(ForeignKey("stations.id"), primary_key=True)
    shift: Mapped[str] = mapped_column(String(64), primary_key=True)
    recipe_id: Mapped[int] = mapped_column(ForeignKey("recipe_versions.id"), primary_key=True)
    engine_id: Mapped[int] = mapped_column(ForeignKey("engine_versions.id"), primary_key=True)
    label: Mapped[str] = mapped_column(String(200), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "station_id", "hour"),)


class Review(Base):
    """A person's decision on a verdict. Kept for ever: an undone one is marked, never removed."""

    __tablename__ = "reviews"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    result: Mapped[int] = mapped_column(ForeignKey("results.id"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    decision: Mapped[str] = mapped_column(String(16))  # OK, NOT_OK
    ask: Mapped[str | None] = mapped_column(String(200))  # the question that `label` answers
    label: Mapped[str | None] = mapped_column(String(200))
    note: Mapped[str] = mapped_column(Text, default="")
    decided_at: Mapped[datetime]
    seconds: Mapped[float | None] = mapped_column(Float)  # from seeing to deciding
    is_second: Mapped[bool] = mapped_column(default=False)
    undone_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]  # the device acknowledged it
    undo_sent_at: Mapped[datetime | None]  # the device acknowledged that it was taken back
    refused: Mapped[str] = mapped_column(String(300), default="")  # why the device will never take it

    __table_args__ = (
        Index(None, "user_id", "decided_at"),
        _partly("ix_reviews_unsent", "id", where=UNSENT_REVIEW),
    )
