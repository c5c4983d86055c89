"""Looks every few seconds whether an alert begins or ends, and writes what is to be told with it.

Runs where the devices are followed, so one process does it at a time. What stands is read from the database
at each look: a new process goes on where the last one ended, and only what is waited for begins anew.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from lineside.dashboard.alerts.channels import Channel
from lineside.dashboard.alerts.levels import DeviceSeen, Observed, StationSeen, observe
from lineside.dashboard.alerts.plan import Plan, Rule, Severity, read_plan
from lineside.dashboard.alerts.standing import Change, Standing, step
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.alerting_tables import AlertDelivery
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.database.result_tables import HourlyVerdicts
from lineside.dashboard.database.steering_tables import Alert
from lineside.dashboard.people.rights import Place
from lineside.dashboard.reading.views import contact_of

LOOK_EVERY_S = 5.0

log = structlog.get_logger(__name__)


class Watch:
    """The thread `alerts`. `url`: where the dashboard is, for messages; empty leaves it out."""

    def __init__(
        self,
        database: Database,
        config: DashboardConfig,
        channels: Sequence[Channel],
        now: Callable[[], datetime],
        *,
        url: str = "",
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._database, self._config, self._channels, self._now = database, config, channels, now
        self._url, self._every_s = url, every_s
        self._waiting: dict[tuple[str, str], Standing] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it after the look under way."""
        self._stop.set()
        self._thread.join(30.0)

    def look(self) -> None:
        """Begins, ends and escalates what is due, each with its messages in one transaction.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: nothing was changed; the next look does it.
        """
        at = self._now()
        with self._database.reading() as session:
            plan = read_plan(session)
            devices = self._devices(session, at)
            standing = {
                (alert.rule, alert.key): alert
                for alert in session.scalars(select(Alert).where(Alert.ended_at.is_(None)))
            }
        began: list[tuple[Rule, Observed]] = []
        ended: list[Alert] = []
        seen: set[tuple[str, str]] = set()
        waiting: dict[tuple[str, str], Standing] = {}
        for rule in plan.rules.values():
            for device in devices if rule.enabled else ():
                for observed in observe(rule, device):
                    key = (rule.kind, observed.key[:300])
                    seen.add(key)
                    known = self._waiting.get(key, Standing())
                    before = Standing(
                        key in standing, known.since if known.stands == (key in standing) else None
                    )
                    waiting[key], change = step(before, observed.level, at, rule.hold_min * 60)
                    if change is Change.BEGAN:
                        began.append((rule, observed))
                    elif change is Change.ENDED:
                        ended.append(standing[key])
        # What is watched no longer (a rule switched off, a station gone) ends as well.
        ended += [alert for key, alert in standing.items() if key not in seen]
        over = {alert.id for alert in ended}
        late = [
            alert for alert in standing.values() if alert.id not in over and self._is_late(plan, alert, at)
        ]
        if began or ended or late:
            places = {device.id: device.place for device in devices}
            with self._database.writing() as session:
                for rule, observed in began:
                    self._begin(session, plan, rule, observed, at, places)
                for alert in ended:
                    self._end(session, plan, alert, at, places)
                for alert in late:
                    self._escalate(session, plan, alert, at, places)
        self._waiting = waiting

    def _devices(self, session: Session, at: datetime) -> list[DeviceSeen]:
        hour = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        recent: dict[int, dict[str, int]] = {}
        for station, verdict, n in session.execute(
            select(HourlyVerdicts.station_id, HourlyVerdicts.verdict, func.sum(HourlyVerdicts.n))
            .where(HourlyVerdicts.hour >= hour)
            .group_by(HourlyVerdicts.station_id, HourlyVerdicts.verdict)
        ):
            recent.setdefault(station, {})[verdict] = int(n)
        stations: dict[int, list[StationSeen]] = {}
        for row in session.scalars(select(Station).where(Station.listed)):
            parts = recent.get(row.id, {})
            decided = parts.get("OK", 0) + parts.get("NOT_OK", 0)
            stations.setdefault(row.device_id, []).append(
                StationSeen(
                    row.id,
                    row.station,
                    row.ready,
                    row.strip,
                    row.waiting,
                    sum(parts.values()),
                    sum(parts.values()) - decided,
                )
            )
        rows = session.scalars(select(Device)).all()
        silent_after = self._config.silent_after(len(rows))
        return [_seen(row, stations.get(row.id, ()), at, silent_after) for row in rows]

    def _is_late(self, plan: Plan, alert: Alert, at: datetime) -> bool:
        return (
            plan.escalate_min > 0
            and alert.severity == Severity.CRITICAL.word
            and alert.acknowledged_at is None
            and alert.escalated_at is None
            and at - alert.began_at >= timedelta(minutes=plan.escalate_min)
        )

    def _begin(
        self,
        session: Session,
        plan: Plan,
        rule: Rule,
        observed: Observed,
        at: datetime,
        places: Mapping[int, Place],
    ) -> None:
        alert = Alert(
            rule=rule.kind,
            key=observed.key[:300],
            device_id=observed.device_id,
            station_id=observed.station_id,
            severity=rule.severity.word,
            words=observed.words,
            value=observed.value,
            began_at=at,
        )
        session.add(alert)
        session.flush()
        log.warning("alert began", rule=alert.rule, subject=alert.words, value=alert.value)
        self._tell(session, plan, alert, "began", at, places)

    def _end(
        self, session: Session, plan: Plan, alert: Alert, at: datetime, places: Mapping[int, Place]
    ) -> None:
        session.execute(
            update(Alert).where(Alert.id == alert.id, Alert.ended_at.is_(None)).values(ended_at=at)
        )
        alert.ended_at = at
        log.info("alert ended", rule=alert.rule, subject=alert.words)
        self._tell(session, plan, alert, "ended", at, places)
        if alert.escalated_at is not None:
            self._tell(session, plan, alert, "ended", at, places, escalated=True)

    def _escalate(
        self, session: Session, plan: Plan, alert: Alert, at: datetime, places: Mapping[int, Place]
    ) -> None:
        changed = session.execute(
            update(Alert)
            .where(Alert.id == alert.id, Alert.acknowledged_at.is_(None), Alert.escalated_at.is_(None))
            .values(escalated_at=at)
        )
        if changed.rowcount:  # type: ignore[attr-defined]  # an UPDATE's result has it
            log.warning("alert escalated", rule=alert.rule, subject=alert.words)
            self._tell(session, plan, alert, "escalated", at, places, escalated=True)

    def _tell(
        self,
        session: Session,
        plan: Plan,
        alert: Alert,
        event: str,
        at: datetime,
        places: Mapping[int, Place],
        *,
        escalated: bool = False,
    ) -> None:
        severity = Severity.read(alert.severity)
        message = {
            "rule": alert.rule,
            "subject": alert.words,
            "severity": alert.severity,
            "value": alert.value,
            "place": list(places.get(alert.device_id or 0, ())),
            "began_at": alert.began_at.isoformat(),
            "ended_at": alert.ended_at.isoformat() if alert.ended_at is not None else None,
            "url": f"{self._url}alerts" if self._url else "",
        }
        for channel in self._channels:
            if channel.wants(severity, escalated=escalated):
                session.add(
                    AlertDelivery(
                        alert_id=alert.id,
                        event=event,
                        channel=channel.name,
                        message_key=_key(alert, event, channel.name),
                        message=message,
                        created_at=at,
                        due_at=plan.due(severity, at, self._config.timezone),
                    )
                )

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except SQLAlchemyError as error:
                log.error("cannot look for alerts", error=str(error)[:300])
            except Exception:
                # The thread's edge: one thing that cannot be judged must not end all watching unseen.
                log.exception("looking for alerts failed")
            if self._stop.wait(self._every_s):
                return


def _seen(row: Device, stations: Iterable[StationSeen], at: datetime, silent_after: float) -> DeviceSeen:
    contact, silent_for = contact_of(row.heard_at, row.watch_heard_at, at, silent_after)
    left = (row.certificate_until - at).total_seconds() if row.certificate_until is not None else None
    return DeviceSeen(
        id=row.id,
        name=row.device,
        contact=contact,
        silent_for_s=silent_for,
        outbox_oldest_s=row.outbox_oldest_s,
        disk_free_bytes=row.disk_free_bytes,
        temperature_c=row.temperature_c,
        certificate_left_s=left,
        clock_synchronised=row.clock_synchronised,
        place=(row.site, row.area, row.line),
        stations=tuple(stations),
    )


def _key(alert: Alert, event: str, channel: str) -> str:
    """What names a message for ever, also to a receiver that gets it twice."""
    told = f"{alert.id} {alert.began_at.isoformat()} {alert.key} {event} {channel}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]
