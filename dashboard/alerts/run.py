"""The watch and the deliverers, started and stopped together where the devices are followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import update

from lineside.dashboard.alerts.channels import Channel
from lineside.dashboard.alerts.deliver import Deliverer
from lineside.dashboard.alerts.watch import Watch
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.alerting_tables import AlertDelivery
from lineside.dashboard.database.connection import Database


class Alerts:
    """All threads of alerts: `alerts`, and `alerts-NAME` for each channel."""

    def __init__(
        self,
        database: Database,
        config: DashboardConfig,
        channels: Sequence[Channel],
        now: Callable[[], datetime],
    ) -> None:
        self._database, self._channels, self._now = database, channels, now
        self._watch = Watch(database, config, channels, now, url=config.url)
        self._deliverers = [Deliverer(database, channel, config.timezone, now) for channel in channels]

    def start(self) -> None:
        """Starts them; what waits for a channel that is not named any more is given up, and shown as that."""
        with self._database.writing() as session:
            session.execute(
                update(AlertDelivery)
                .where(
                    AlertDelivery.delivered_at.is_(None),
                    AlertDelivery.given_up_at.is_(None),
                    AlertDelivery.channel.not_in([channel.name for channel in self._channels]),
                )
                .values(given_up_at=self._now(), trouble="this channel is not named any more")
            )
        self._watch.start()
        for deliverer in self._deliverers:
            deliverer.start()

    def stop(self) -> None:
        """Ends them; messages under way have their time, the others wait for the next process."""
        for deliverer in self._deliverers:
            deliverer.ask_to_stop()
        self._watch.stop()
        for deliverer in self._deliverers:
            deliverer.stop()
