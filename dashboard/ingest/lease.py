"""Who may follow: one process at a time, by a row that its holder keeps alive.

A dead holder's lease is taken when its row has not moved for TTL_S by the taker's own clock that never steps,
so that wrong clocks do not matter; at once when its process was on this machine and is gone. Two holders for
a moment do no harm (see `ledger`).
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Lease

TTL_S = 15.0
RENEW_S = 4.0


class Tenure:
    """One candidate for the lease of a name."""

    def __init__(
        self,
        database: Database,
        name: str,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._name, self._now, self._monotonic = database, name, now, monotonic
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._seen: tuple[str, datetime] | None = None
        self._seen_at = 0.0

    def take(self) -> bool:
        """Takes the lease or keeps it; False while another holds it.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database does not answer: act as if it was lost.
        """
        until = self._now() + timedelta(seconds=TTL_S)
        with self._database.writing() as session:
            row = session.scalars(
                select(Lease).where(Lease.name == self._name).with_for_update()
            ).one_or_none()
            if row is None:
                try:
                    with session.begin_nested():
                        session.add(Lease(name=self._name, holder=self.holder, until=until))
                except IntegrityError:
                    return False
                return True
            if row.holder != self.holder and not self._is_dead(row.holder, row.until):
                return False
            session.execute(
                update(Lease).where(Lease.name == self._name).values(holder=self.holder, until=until)
            )
            return True

    def give_back(self) -> None:
        """Lets another take it at once."""
        with self._database.writing() as session:
            session.execute(delete(Lease).where(Lease.name == self._name, Lease.holder == self.holder))

    def _is_dead(self, holder: str, until: datetime) -> bool:
        host, _, rest = holder.partition(":")
        pid = rest.partition(":")[0]
        if host == socket.gethostname() and pid.isdigit() and not _alive(int(pid)):
            return True
        if self._seen != (holder, until):
            self._seen, self._seen_at = (holder, until), self._monotonic()
        return self._monotonic() - self._seen_at > TTL_S


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
