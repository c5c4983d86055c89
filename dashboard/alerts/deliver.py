"""Tells people of alerts: each channel in a thread of its own, oldest message first, again until it is there.

A message that was sent and not noted as sent (a power cut in between) is sent again under the same key, by
which its receiver knows it. It is given up after GIVE_UP, and shown as that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo

import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from lineside.dashboard.alerts import mail, words
from lineside.dashboard.alerts.channels import Channel, Webhook
from lineside.dashboard.alerts.mail import PartlyDelivered
from lineside.dashboard.alerts.webhook import NotDelivered, post
from lineside.dashboard.config import RefusedConfiguration
from lineside.dashboard.database.alerting_tables import AlertDelivery
from lineside.dashboard.database.connection import Database
from lineside.dashboard.present import Presenter

LOOK_EVERY_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 900.0
GIVE_UP = timedelta(days=7)

log = structlog.get_logger(__name__)


class Deliverer:
    """One channel and its thread `alerts-NAME`."""

    def __init__(
        self,
        database: Database,
        channel: Channel,
        zone: tzinfo | None,
        now: Callable[[], datetime],
        *,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._database, self._channel, self._now, self._every_s = database, channel, now, every_s
        self._shown = Presenter(channel.language, zone)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alerts-{channel.name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Lets a message under way be the last."""
        self._stop.set()

    def stop(self) -> None:
        """Ends the thread; a message under way has its time."""
        self._stop.set()
        self._thread.join(30.0)

    def deliver_next(self) -> bool:
        """Tries the message that is due for longest; False when none is.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database does not answer; nothing is lost.
        """
        at = self._now()
        with self._database.reading() as session:
            row = session.scalars(
                select(AlertDelivery)
                .where(
                    AlertDelivery.channel == self._channel.name,
                    AlertDelivery.due_at <= at,
                    AlertDelivery.delivered_at.is_(None),
                    AlertDelivery.given_up_at.is_(None),
                )
                .order_by(AlertDelivery.id)
                .limit(1)
            ).one_or_none()
        if row is None:
            return False
        try:
            self._send(row)
        except PartlyDelivered as error:
            self._note(row, delivered_at=self._now(), trouble=str(error)[:300])
            log.warning("alert not delivered to all", channel=self._channel.name, because=str(error))
        except (NotDelivered, RefusedConfiguration) as error:
            self._failed(row, str(error))
        else:
            self._note(row, delivered_at=self._now(), trouble="")
        return True

    def _send(self, row: AlertDelivery) -> None:
        way = self._channel.way
        if isinstance(way, Webhook):
            text = words.subject(self._shown, row.event, row.message)
            post(way, row.message_key, {"event": row.event, "text": text, **row.message}, self._now())
            return
        subject = words.subject(self._shown, row.event, row.message)
        body = words.body(self._shown, row.event, row.message)
        mail.send(way, mail.compose(way, row.message_key, subject, body, row.created_at))

    def _failed(self, row: AlertDelivery, why: str) -> None:
        at = self._now()
        pause = min(FIRST_PAUSE_S * 2 ** min(row.attempts, 20), LONGEST_PAUSE_S)
        over = at - row.created_at > GIVE_UP
        log.error("alert not delivered", channel=self._channel.name, because=why, given_up=over)
        self._note(
            row,
            attempts=row.attempts + 1,
            trouble=why[:300],
            due_at=at + timedelta(seconds=pause),
            given_up_at=at if over else None,
        )

    def _note(self, row: AlertDelivery, **values: object) -> None:
        with self._database.writing() as session:
            session.execute(update(AlertDelivery).where(AlertDelivery.id == row.id).values(**values))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self.deliver_next():
                    continue
            except SQLAlchemyError as error:
                log.error("cannot read what is to be delivered", error=str(error)[:300])
            except Exception:
                # The thread's edge: a message that cannot be made must not keep all later ones back unseen.
                log.exception("delivery failed", channel=self._channel.name)
                self._stop.wait(LONGEST_PAUSE_S / 15)
            self._stop.wait(self._every_s)
