"""Alerts as pages show them: those of the lines that a person may look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lineside.dashboard.database.alerting_tables import AlertDelivery
from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.database.people_tables import User
from lineside.dashboard.database.steering_tables import Alert
from lineside.dashboard.people.rights import Person, Role
from lineside.dashboard.reading.devices import place_of

TONES = {"critical": "not_ok", "warning": "not_decidable", "notice": "unknown"}
MOST_STANDING = 500


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert. `may_acknowledge`: the person who looks may say that they know of it."""

    id: int
    rule: str
    severity: str
    tone: str
    value: float | None
    device: str
    station: str
    line: str
    began_at: datetime
    ended_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    note: str
    escalated_at: datetime | None
    may_acknowledge: bool


@dataclass(frozen=True, slots=True)
class Before:
    """A page of what is over, newest first."""

    rows: tuple[AlertView, ...]
    page: int
    pages: int


def standing(session: Session, who: Person) -> tuple[AlertView, ...]:
    """What stands now: the worst first, within that the newest; what somebody knows of last."""
    found = _views(session, who, Alert.ended_at.is_(None), MOST_STANDING, 0)
    order = list(TONES)
    return tuple(
        sorted(
            found,
            key=lambda alert: (
                alert.acknowledged_at is not None,
                order.index(alert.severity),
                -alert.began_at.timestamp(),
            ),
        )
    )


def before(session: Session, who: Person, page: int, rows: int) -> Before:
    """What is over."""
    over = Alert.ended_at.is_not(None)
    if who.lines:
        # Rights by line are asked for row by row; there are few who have them.
        seen = _views(session, who, over, MOST_STANDING * 10, 0)
        pages = max(1, -(-len(seen) // rows))
        page = min(max(page, 1), pages)
        return Before(seen[(page - 1) * rows : page * rows], page, pages)
    n = session.scalar(select(func.count()).select_from(Alert).where(over)) or 0
    pages = max(1, -(-n // rows))
    page = min(max(page, 1), pages)
    return Before(_views(session, who, over, rows, (page - 1) * rows), page, pages)


def unacknowledged(session: Session, who: Person) -> int:
    """How many stand that nobody has said to know of."""
    rows = session.execute(
        select(Device.site, Device.area, Device.line, func.count())
        .join(Alert, Alert.device_id == Device.id)
        .where(Alert.ended_at.is_(None), Alert.acknowledged_at.is_(None))
        .group_by(Device.site, Device.area, Device.line)
    )
    return sum(n for site, area, line, n in rows if who.role_at((site, area, line)) is not None)


def device_of(session: Session, alert: int) -> tuple[Alert, Device] | None:
    """An alert with its device."""
    row = session.get(Alert, alert)
    device = session.get(Device, row.device_id) if row is not None and row.device_id is not None else None
    return (row, device) if row is not None and device is not None else None


def messages(session: Session, most: int) -> list[tuple[AlertDelivery, Alert]]:
    """The newest messages with their alerts; those that are still to be delivered first."""
    found = session.execute(
        select(AlertDelivery, Alert)
        .join(Alert, Alert.id == AlertDelivery.alert_id)
        .order_by(AlertDelivery.delivered_at.is_not(None), AlertDelivery.id.desc())
        .limit(most)
    )
    return [(row[0], row[1]) for row in found]


def _views(session: Session, who: Person, where: object, most: int, skip: int) -> tuple[AlertView, ...]:
    found = session.execute(
        select(Alert, Device, Station.station, User.name)
        .join(Device, Device.id == Alert.device_id)
        .outerjoin(Station, Station.id == Alert.station_id)
        .outerjoin(User, User.id == Alert.acknowledged_by)
        .where(where)  # type: ignore[arg-type]  # a condition on Alert
        .order_by(Alert.id.desc())
        .limit(most)
        .offset(skip)
    )
    return tuple(
        AlertView(
            id=alert.id,
            rule=alert.rule,
            severity=alert.severity,
            tone=TONES.get(alert.severity, "unknown"),
            value=alert.value,
            device=device.device,
            station=station or "",
            line=device.line,
            began_at=alert.began_at,
            ended_at=alert.ended_at,
            acknowledged_at=alert.acknowledged_at,
            acknowledged_by=name or "",
            note=alert.note,
            escalated_at=alert.escalated_at,
            may_acknowledge=alert.acknowledged_at is None and who.may(Role.REVIEWER, place_of(device)),
        )
        for alert, device, station, name in found
        if who.role_at(place_of(device)) is not None
    )
