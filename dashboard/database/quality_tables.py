"""Counts by shift and by lot, what reviews found out, and the pictures of golden parts.

Counts are written in the transaction that stores what they count: pages add a few rows up, however many
results there are. `ReviewedParts` has one line of counts for each way a reviewed part may have come out.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from lineside.dashboard.database.base import Base


class ShiftVerdicts(Base):
    """How many parts of a station got which verdict in a shift. `day`: the local date on which it began."""

    __tablename__ = "shift_verdicts"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    shift: Mapped[str] = mapped_column(String(64), primary_key=True)
    station_id: Mapped[int] = mapped_column(ForeignKey("stations.id"), primary_key=True)
    recipe_id: Mapped[int] = mapped_column(ForeignKey("recipe_versions.id"), primary_key=True)
    engine_id: Mapped[int] = mapped_column(ForeignKey("engine_versions.id"), primary_key=True)
    verdict: Mapped[str] = mapped_column(String(16), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "station_id", "day"),)


class ShiftDefects(Base):
    """How many parts of a station had which defect in a shift; a part counts once for each label."""

    __tablename__ = "shift_defects"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    shift: Mapped[str] = mapped_column(String(64), primary_key=True)
    station_id: Mapped[int] = mapped_column(ForeignKey("stations.id"), primary_key=True)
    label: Mapped[str] = mapped_column(String(200), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "station_id", "day"),)


class LotVerdicts(Base):
    """How many parts of a lot got which verdict at a station, from the first to the last of them."""

    __tablename__ = "lot_verdicts"

    lot: Mapped[str] = mapped_column(String(200), primary_key=True)
    station_id: Mapped[int] = mapped_column(ForeignKey("stations.id"), primary_key=True)
    verdict: Mapped[str] = mapped_column(String(16), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime] = mapped_column(index=True)


class ReviewedParts(Base):
    """How many parts that got `verdict` people have settled as `truth`, and why they were asked.

    `truth` is OK, NOT_OK, or NOT_DECIDABLE where people could not tell either.
    """

    __tablename__ = "reviewed_parts"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    shift: Mapped[str] = mapped_column(String(64), primary_key=True)
    station_id: Mapped[int] = mapped_column(ForeignKey("stations.id"), primary_key=True)
    lot: Mapped[str] = mapped_column(String(200), primary_key=True)
    verdict: Mapped[str] = mapped_column(String(16), primary_key=True)
    because: Mapped[str] = mapped_column(String(16), primary_key=True)
    truth: Mapped[str] = mapped_column(String(16), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "station_id", "day"), Index(None, "lot"))


class ReviewSkip(Base):
    """A part that a person put off: it comes last for that person, and as before for everybody else."""

    __tablename__ = "review_skips"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    result: Mapped[int] = mapped_column(ForeignKey("results.id", ondelete="CASCADE"), primary_key=True)
    skipped_at: Mapped[datetime]


class GoldenPicture(Base):
    """The picture of a golden part, kept here: a device deletes its own when its time is over."""

    __tablename__ = "golden_pictures"

    evidence_id: Mapped[str] = mapped_column(String(64), primary_key=True)  # sha256 of `data`
    media_type: Mapped[str] = mapped_column(String(32))
    width: Mapped[int]
    height: Mapped[int]
    data: Mapped[bytes] = mapped_column(LargeBinary)
