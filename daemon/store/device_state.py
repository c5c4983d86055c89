"""Small facts of the device, one row each: counters, totals, where the chain starts.

Keys are `area.name`; values are text. It knows nothing of who asks.
"""

from __future__ import annotations

from sqlalchemy import Connection, Integer, String, cast, select
from sqlalchemy.dialects.sqlite import insert as upsert

from lineside.daemon.store import schema

CHAIN_STARTS_AFTER = "chain.starts_after"
"""The sequence before the first row: 0, but for a database begun after a damaged one."""


def state(connection: Connection, key: str) -> str | None:
    """A small fact of the device."""
    wanted = select(schema.device_state.c.value).where(schema.device_state.c.key == key)
    return connection.execute(wanted).scalar_one_or_none()


def set_state(connection: Connection, key: str, value: str) -> None:
    """Keeps a small fact of the device."""
    row = upsert(schema.device_state).values(key=key, value=value)
    connection.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


def reserve_numbers(connection: Connection, name: str, count: int) -> range:
    """`count` numbers of the named counter that nobody else is ever given. The first is 1."""
    key = f"counter.{name}"
    used = int(state(connection, key) or 0)
    set_state(connection, key, str(used + count))
    return range(used + 1, used + count + 1)


def add_number(connection: Connection, key: str, amount: int) -> None:
    """Adds to a number kept in the device's state."""
    row = upsert(schema.device_state).values(key=key, value=str(amount))
    total = cast(cast(schema.device_state.c.value, Integer) + amount, String)
    connection.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": total}))


def number(connection: Connection, key: str) -> int:
    """A number kept in the device's state; 0 when it was never set."""
    return int(state(connection, key) or 0)
