"""Everything that follows, made, started and stopped in this one place, while the lease is held."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from lineside.dashboard.alerts.channels import Channel as AlertChannel
from lineside.dashboard.alerts.run import Alerts
from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.devices.channel import Channel
from lineside.dashboard.ingest.births import Births
from lineside.dashboard.ingest.follow import Follower
from lineside.dashboard.ingest.keeping import Keeping
from lineside.dashboard.ingest.lease import RENEW_S, Tenure
from lineside.dashboard.ingest.ledger import Ledger
from lineside.dashboard.ingest.probe import Probes
from lineside.dashboard.ingest.roster import Listed, Roster
from lineside.dashboard.ingest.shifts import ShiftPlan
from lineside.dashboard.ingest.writer import Writer
from lineside.dashboard.labels.policy import read_policy
from lineside.dashboard.labels.send import Sender
from lineside.dashboard.plant import read_plant
from lineside.dashboard.rollouts.runner import Runner

LOOK_EVERY_S = 1.0

log = structlog.get_logger(__name__)


class Owner:
    """Waits for the lease, follows while it has it. `run` returns when `stopping` is set."""

    def __init__(
        self,
        database: Database,
        config: DashboardConfig,
        *,
        now: Callable[[], datetime] = utc_now,
        channels: Sequence[AlertChannel] = (),
    ) -> None:
        """`channels`: where alerts are told."""
        self._database, self._config, self._now, self._channels = database, config, now, channels
        self._tenure = Tenure(database, "follow", now)

    def run(self, stopping: threading.Event) -> None:
        """Follows until told to stop; a lease that was lost is waited for again."""
        said = False
        while not stopping.is_set():
            if self._holds():
                log.info("following", holder=self._tenure.holder)
                said = False
                with Following(self._database, self._config, self._now, self._channels) as following:
                    self._follow(following, stopping)
            elif not said:
                log.info("another process follows; waiting")
                said = True
            stopping.wait(LOOK_EVERY_S)
        try:
            self._tenure.give_back()
        except SQLAlchemyError as error:
            log.warning("lease not given back; it ends by itself", error=str(error)[:300])

    def _follow(self, following: Following, stopping: threading.Event) -> None:
        since = 0.0
        while not stopping.is_set():
            try:
                following.look()
            except SQLAlchemyError as error:
                log.error("cannot read the devices to follow", error=str(error)[:300])
            stopping.wait(LOOK_EVERY_S)
            since += LOOK_EVERY_S
            if since >= RENEW_S:
                since = 0.0
                if not self._holds():
                    log.warning("the lease was lost")
                    return

    def _holds(self) -> bool:
        try:
            return self._tenure.take()
        except SQLAlchemyError as error:
            log.error("cannot reach the database", error=str(error)[:300])
            return False


class Following:
    """The writer, the probes, the listener on the broker, and a follower for each device."""

    def __init__(
        self,
        database: Database,
        config: DashboardConfig,
        now: Callable[[], datetime],
        channels: Sequence[AlertChannel] = (),
    ) -> None:
        self._config, self._now = config, now
        self.roster = Roster(database)
        self._database = database
        self._ledger = Ledger(database, ShiftPlan.read(config.shifts, config.timezone), config.sample_ok)
        self.writer = Writer(database, self._ledger)
        self._rollouts = Runner(database, config, now)
        self._labels = Sender(database, self._channel_of, now)
        self._alerts = Alerts(database, config, channels, now)
        self._keeping = Keeping(database, config, now)
        self.probes = Probes(self.writer.board, config.probe_every, now)
        self._stack = ExitStack()
        self._followed: dict[int, tuple[Listed, Channel, Follower]] = {}

    def __enter__(self) -> Following:
        for address in self._config.devices:
            self.roster.add(address, "configured")
        self.writer.start()
        self._stack.callback(self.writer.stop)
        self.probes.start()
        self._stack.callback(self.probes.stop)
        self._stack.callback(self._let_go)
        self._labels.start()
        self._stack.callback(self._labels.stop)
        self._rollouts.start()
        self._stack.callback(self._rollouts.stop)
        self._alerts.start()
        self._stack.callback(self._alerts.stop)
        self._keeping.start()
        self._stack.callback(self._keeping.stop)
        if self._config.broker is not None:
            births = Births(self._config.broker, self.roster)
            births.start()
            self._stack.callback(births.stop)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def look(self) -> None:
        """Begins to follow what is new, and lets go of what is gone or elsewhere."""
        with self._database.reading() as session:
            self._ledger.sample = read_policy(session, self._config.sample_ok).sample_ok
            self._ledger.shifts = read_plant(session, self._config).plan(self._config.timezone)
        wanted = {listed.device_id: listed for listed in self.roster.to_follow(self._config.devices)}
        for row, (listed, channel, follower) in list(self._followed.items()):
            if wanted.get(row) != listed:
                self.probes.remove(row)
                follower.stop()
                channel.close()
                del self._followed[row]
        for row, listed in wanted.items():
            if row not in self._followed:
                self._begin(listed)

    def _channel_of(self, row: int) -> Channel | None:
        followed = self._followed.get(row)
        return followed[1] if followed is not None else None

    def _begin(self, listed: Listed) -> None:
        channel = Channel(listed.address, self._config.device_tls)
        channel.open()
        follower = Follower(channel, listed.device_id, self.roster, self.writer, self._now)
        self._followed[listed.device_id] = (listed, channel, follower)
        follower.start()
        self.probes.add(listed.device_id, channel, follower)

    def _let_go(self) -> None:
        for _listed, _channel, follower in self._followed.values():
            follower.ask_to_stop()
        for _listed, channel, follower in self._followed.values():
            follower.stop()
            channel.close()
        self._followed.clear()
