"""What a client's `request_id` led to: remembered in the transaction of the effect itself.

A call that is repeated after a crash, on either side, therefore finds its outcome exactly when it had its
effect. Bounded: beyond MOST the oldest are forgotten. It knows nothing of what the calls do.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from lineside.daemon.store import schema

MOST = 20_000


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A client's call. `scope`: what of, such as a station; `digest`: sha256 over what it asks, hex."""

    scope: str
    request_id: str
    digest: str


class RequestReused(Exception):
    """The `request_id` was used for another call: its outcome is not this call's."""


def outcome(connection: Connection, key: RequestKey) -> str | None:
    """What the call led to; None when it is new (or forgotten).

    Raises:
        RequestReused: the same id asked for something else.
    """
    table = schema.requests
    wanted = select(table.c.digest, table.c.outcome).where(
        table.c.scope == key.scope, table.c.request_id == key.request_id
    )
    found = connection.execute(wanted).first()
    if found is None:
        return None
    if found.digest != key.digest:
        raise RequestReused(
            f"request_id '{key.request_id}' was used for another call already: choose a new one for each call"
        )
    return str(found.outcome)


def remember(connection: Connection, key: RequestKey, outcome: str) -> None:
    """Notes the outcome; the first one stays. Forgets the oldest beyond MOST."""
    table = schema.requests
    row = {"scope": key.scope, "request_id": key.request_id, "digest": key.digest, "outcome": outcome}
    connection.execute(upsert(table).values(row).on_conflict_do_nothing())
    newest = select(func.max(table.c.ordinal)).scalar_subquery()
    connection.execute(delete(table).where(table.c.ordinal <= newest - MOST))
