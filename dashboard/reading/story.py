"""What happened to a result after its verdict: delivery, its place in the chain, and what people decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from lineside.dashboard.database.fleet_tables import Cursor, Device
from lineside.dashboard.database.result_tables import Result
from lineside.dashboard.reading.queue import Reading, readings
from lineside.dashboard.reading.trace import neighbours
from lineside.dashboard.reading.views import Contact, contact_of


@dataclass(frozen=True, slots=True)
class Delivery:
    """Whether a consumer has a result. None: not known. `waiting`: how many are in its outbox."""

    consumer: str
    arrived: bool | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Story:
    """The rest of a result's story. `after_ms`: from the verdict to this database; by two clocks."""

    row: Result
    deliveries: tuple[Delivery, ...]
    told_for_s: float | None
    oldest_s: float | None
    after_ms: float
    before: str | None
    after: str | None
    readings: Sequence[Reading]


def story(session: Session, device: Device, result_id: str, now: datetime, silent_after_s: float) -> Story:
    """The story of a stored result of a device."""
    row = session.scalars(
        select(Result).where(Result.device_id == device.id, Result.result_id == result_id)
    ).one()
    contact, told_for = contact_of(device.heard_at, device.watch_heard_at, now, silent_after_s)
    history = session.scalar(select(Cursor.history).where(Cursor.device_id == device.id))
    before, after = neighbours(session, row)
    deliveries = []
    for consumer, waiting in sorted(device.outbox.items()):
        # An outbox is served in order: what waits are the last ones.
        arrived: bool | None = row.sequence <= device.last_sequence - waiting
        if contact is not Contact.LIVE and not arrived:
            arrived = None
        if history is not None and row.history < history:
            arrived = None  # of a store that the device does not have any more
        deliveries.append(Delivery(consumer, arrived, waiting))
    return Story(
        row=row,
        deliveries=tuple(deliveries),
        told_for_s=told_for,
        oldest_s=device.outbox_oldest_s,
        after_ms=max(0.0, (row.received_at - row.decided_at).total_seconds() * 1000),
        before=before,
        after=after,
        readings=readings(session, row.id),
    )
