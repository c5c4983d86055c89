"""Devices and stations as last heard, how far each device's results were read, and who reads them.

Written by the following process alone; pages read. `heard_at` says how old a device's values are.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from lineside.dashboard.database.base import Base, BigId


class Device(Base):
    """One device. `device` is its id; until it has said that, its address."""

    __tablename__ = "devices"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    device: Mapped[str] = mapped_column(String(200), unique=True)
    address: Mapped[str] = mapped_column(String(300), unique=True)
    found_by: Mapped[str] = mapped_column(String(16))  # configured, mqtt
    identified: Mapped[bool] = mapped_column(default=False)
    site: Mapped[str] = mapped_column(String(128), default="")
    area: Mapped[str] = mapped_column(String(128), default="")
    line: Mapped[str] = mapped_column(String(128), default="")
    labels: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    software_version: Mapped[str] = mapped_column(String(64), default="")
    engine: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)  # name, version, digest, runtime
    engine_state: Mapped[str] = mapped_column(String(32), default="")
    cameras: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    clock_synchronised: Mapped[bool] = mapped_column(default=False)
    clock_ahead_s: Mapped[float] = mapped_column(Float, default=0.0)
    last_sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    outbox: Mapped[dict[str, int]] = mapped_column(JSON, default=dict)  # consumer to depth
    outbox_oldest_s: Mapped[float | None] = mapped_column(Float)
    evidence_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    disk_free_bytes: Mapped[int | None] = mapped_column(BigInteger)
    temperature_c: Mapped[float | None] = mapped_column(Float)
    certificate_until: Mapped[datetime | None]
    heard_at: Mapped[datetime | None]  # answered how it is
    watch_heard_at: Mapped[datetime | None]  # results, or the word that there are none
    trouble: Mapped[str] = mapped_column(String(300), default="")

    __table_args__ = (Index(None, "site", "area", "line"),)


class Station(Base):
    """One station, with what a row of the fleet page needs, so that no page has to search results for it."""

    __tablename__ = "stations"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    station: Mapped[str] = mapped_column(String(200))
    listed: Mapped[bool] = mapped_column(default=False)  # the device lists it; else only results speak of it
    cameras: Mapped[list[str]] = mapped_column(JSON, default=list)
    recipe: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # name, version, hash
    ready: Mapped[bool] = mapped_column(default=False)
    not_ready_because: Mapped[list[str]] = mapped_column(JSON, default=list)
    pending: Mapped[int] = mapped_column(default=0)
    waiting: Mapped[int] = mapped_column(default=0)  # results for which a first review is wanted
    strip: Mapped[str] = mapped_column(String(60), default="")  # last verdicts, oldest first: o n r u
    last_sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    last_decided_at: Mapped[datetime | None]
    last_result_id: Mapped[str] = mapped_column(String(64), default="")
    recent_bad: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)  # newest first, a few

    __table_args__ = (UniqueConstraint("device_id", "station"),)


class Cursor(Base):
    """How far a device's results are in this database. Moves in the transaction that stores them.

    `history` counts the lives of a device's store: one that has fewer results than were read was replaced.
    """

    __tablename__ = "cursors"

    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    history: Mapped[int] = mapped_column(default=1)
    sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    row_hash: Mapped[str] = mapped_column(String(64), default="")
    skipped: Mapped[int] = mapped_column(BigInteger, default=0)  # numbers the device no longer had
    moved_at: Mapped[datetime | None]


class Lease(Base):
    """Which process may do what only one may do. Taken by comparing and swapping, lost by its time."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(128))
    until: Mapped[datetime]


class ExpectedVersion(Base):
    """What the devices of a label should run; drift is what differs from it."""

    __tablename__ = "expected_versions"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))  # engine, recipe
    name: Mapped[str] = mapped_column(String(200))  # of the engine or recipe
    label: Mapped[str] = mapped_column(String(200), default="")  # key=value; empty: the whole fleet
    digest: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(64))
    set_at: Mapped[datetime]
    note: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (UniqueConstraint("kind", "name", "label"),)
