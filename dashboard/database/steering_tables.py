"""What people set and start: settings, alerts, enrolments, golden sets and rollouts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from lineside.dashboard.database.base import Base, BigId


class Setting(Base):
    """One setting of the dashboard, as JSON."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
    changed_at: Mapped[datetime]


class Alert(Base):
    """Something a person should hear of, from its beginning to its end. `key` is what it is about."""

    __tablename__ = "alerts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rule: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(300))
    device_id: Mapped[int | None] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    station_id: Mapped[int | None] = mapped_column(ForeignKey("stations.id", ondelete="CASCADE"))
    severity: Mapped[str] = mapped_column(String(16))
    words: Mapped[str] = mapped_column(Text)  # what it is about, as a person calls it
    value: Mapped[float | None]  # what was measured when it began, in the rule's unit
    began_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    note: Mapped[str] = mapped_column(String(300), default="")  # said with the acknowledgement
    escalated_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "rule", "key", "ended_at"),)


class Enrolment(Base):
    """A device that asks to belong to the fleet, by the fingerprint a person compares."""

    __tablename__ = "enrolments"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    device: Mapped[str] = mapped_column(String(200))
    address: Mapped[str] = mapped_column(String(300))
    fingerprint: Mapped[str] = mapped_column(String(128), unique=True)
    request: Mapped[str] = mapped_column(Text, default="")  # the certificate request, PEM
    asked_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))  # waiting, approved, refused
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))


class GoldenSet(Base):
    """Labelled parts that a recipe must still judge right."""

    __tablename__ = "golden_sets"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    recipe: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("recipe", "name"),)


class GoldenPart(Base):
    """One labelled picture of a golden set; the picture lies in the evidence cache, named by its hash."""

    __tablename__ = "golden_parts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    golden_set: Mapped[int] = mapped_column(ForeignKey("golden_sets.id", ondelete="CASCADE"), index=True)
    result: Mapped[int | None] = mapped_column(ForeignKey("results.id", ondelete="SET NULL"))
    evidence_id: Mapped[str] = mapped_column(String(64))
    verdict: Mapped[str] = mapped_column(String(16))
    label: Mapped[str | None] = mapped_column(String(200))


class Rollout(Base):
    """Moving an engine, a recipe or a setting to a group in waves."""

    __tablename__ = "rollouts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))  # engine, recipe
    subject: Mapped[str] = mapped_column(String(200))  # name@version
    digest: Mapped[str] = mapped_column(String(64))
    bundle: Mapped[str] = mapped_column(String(64), server_default="")  # sha256 of its file
    plan: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16))  # `rollouts.machine.RolloutState`
    why: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]


class RolloutDevice(Base):
    """One device of a rollout and how far it is."""

    __tablename__ = "rollout_devices"

    rollout: Mapped[int] = mapped_column(ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    wave: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))  # `rollouts.machine.DeviceState`
    detail: Mapped[str] = mapped_column(Text, default="")
    before: Mapped[str] = mapped_column(String(64), server_default="")  # digest of the engine that judged
    attempt: Mapped[int] = mapped_column(server_default="0")  # of the step it is at
    since: Mapped[int] = mapped_column(BigInteger, server_default="0")  # its last sequence before the change
    changed_at: Mapped[datetime]
