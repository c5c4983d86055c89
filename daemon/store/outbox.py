"""The outbox: what each consumer ("mqtt", …) has still to be given, in order.

The results themselves are the outbox; a consumer has a cursor, and beyond it a list of what was
acknowledged out of order. It knows nothing of brokers. Writing functions run in the writer's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from lineside.daemon.store import schema
from lineside.daemon.store.chain import head, starts_after
from lineside.daemon.store.records import parse_json
from lineside.daemon.values import Result


def acknowledge(connection: Connection, consumer: str, sequences: Sequence[int]) -> None:
    """Notes what a consumer has; the cursor moves over what is complete.

    Raises:
        ValueError: a sequence that was never given: marking it would lose a result to come.
    """
    last, _ = head(connection)
    if sequences and max(sequences) > last:
        raise ValueError(f"{consumer} acknowledges {max(sequences)}, but the last sequence is {last}")
    before = cursor(connection, consumer)
    new = sorted({sequence for sequence in sequences if sequence > before})
    if not new:
        return
    beyond = schema.acknowledgements
    rows = [{"consumer": consumer, "sequence": sequence} for sequence in new]
    connection.execute(upsert(beyond).on_conflict_do_nothing(), rows)
    listed = select(beyond.c.sequence).where(beyond.c.consumer == consumer).order_by(beyond.c.sequence)
    after = before
    for sequence in connection.execute(listed).scalars():
        if sequence != after + 1:
            break
        after = sequence
    if after == before:
        return
    connection.execute(delete(beyond).where(beyond.c.consumer == consumer, beyond.c.sequence <= after))
    moved = upsert(schema.consumers).values(consumer=consumer, cursor=after)
    connection.execute(moved.on_conflict_do_update(index_elements=["consumer"], set_={"cursor": after}))


def cursor(connection: Connection, consumer: str) -> int:
    """Up to where everything is acknowledged; a consumer never heard of has everything still to come."""
    wanted = select(schema.consumers.c.cursor).where(schema.consumers.c.consumer == consumer)
    found = connection.execute(wanted).scalar_one_or_none()
    return starts_after(connection) if found is None else found


def pending(connection: Connection, consumer: str, limit: int, after: int = 0) -> list[Result]:
    """The oldest results the consumer has not acknowledged, beyond `after`, at most `limit`, in order."""
    query = _unacknowledged(connection, consumer, schema.results.c.record)
    query = query.where(schema.results.c.sequence > after).limit(limit)
    return [parse_json(record) for record in connection.execute(query).scalars()]


def oldest(connection: Connection, consumer: str) -> str | None:
    """When the oldest unacknowledged result was decided (RFC 3339); None when there is none."""
    query = _unacknowledged(connection, consumer, schema.results.c.decided_at)
    return connection.execute(query.limit(1)).scalar_one_or_none()


def depth(connection: Connection, consumer: str) -> int:
    """How many results the consumer has not acknowledged."""
    last, _ = head(connection)
    beyond = schema.acknowledgements
    count = select(func.count()).select_from(beyond).where(beyond.c.consumer == consumer)
    return last - cursor(connection, consumer) - connection.execute(count).scalar_one()


def _unacknowledged(connection: Connection, consumer: str, column: ColumnElement[str]) -> Select[str]:
    beyond = schema.acknowledgements
    listed = select(beyond.c.sequence).where(beyond.c.consumer == consumer)
    results = schema.results
    return (
        select(column)
        .where(results.c.sequence > cursor(connection, consumer), results.c.sequence.not_in(listed))
        .order_by(results.c.sequence)
    )
