"""How often somebody may fail to sign in: counted in the database, so that all workers count together."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session as Transaction

from lineside.dashboard.database.people_tables import SignInAttempt

WINDOW = timedelta(minutes=15)
FROM_ONE_SOURCE = 20
FOR_ONE_NAME = 10
"""Of one source. A name alone is not shut out by strangers: only far beyond, when many sources guess."""
FOR_ONE_NAME_FROM_ANYWHERE = 100


def wait_s(session: Transaction, name: str, source: str, at: datetime) -> int:
    """Seconds until another attempt is heard; 0: now."""
    since = SignInAttempt.at > at - WINDOW
    limits = (
        (FROM_ONE_SOURCE, (SignInAttempt.source == source[:64],)),
        (FOR_ONE_NAME, (SignInAttempt.source == source[:64], SignInAttempt.name == name[:100])),
        (FOR_ONE_NAME_FROM_ANYWHERE, (SignInAttempt.name == name[:100],)),
    )
    longest = 0
    for most, what in limits:
        failed, oldest = session.execute(
            select(func.count(), func.min(SignInAttempt.at)).where(since, *what)
        ).one()
        if failed >= most and oldest is not None:
            longest = max(longest, ceil((oldest + WINDOW - at).total_seconds()))
    return longest


def failed(session: Transaction, name: str, source: str, at: datetime) -> None:
    """Counts a failure, and forgets those that no longer count."""
    session.execute(delete(SignInAttempt).where(SignInAttempt.at <= at - WINDOW))
    session.add(SignInAttempt(name=name[:100], source=source[:64], at=at))


def succeeded(session: Transaction, name: str, source: str) -> None:
    """Forgets the failures of who is in."""
    session.execute(
        delete(SignInAttempt).where(SignInAttempt.name == name[:100], SignInAttempt.source == source[:64])
    )
