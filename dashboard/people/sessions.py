"""Signed-in browsers and sign-in links, by tokens of which only the sha256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session as Transaction

from lineside.dashboard.database.people_tables import Session, SignInLink, User

LONGEST = timedelta(days=7)
IDLE = timedelta(hours=12)
"""A shift and its handover; a wall screen's page keeps its session alive by itself."""
SEEN_EVERY = timedelta(minutes=1)
LINK_LASTS = timedelta(hours=12)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def begin(session: Transaction, user: User, source: str, at: datetime) -> str:
    """Signs a browser in; gives the token for its cookie."""
    token = secrets.token_urlsafe(32)
    session.execute(delete(Session).where(Session.expires_at < at))
    session.add(
        Session(
            token_hash=_hash(token),
            user_id=user.id,
            created_at=at,
            seen_at=at,
            expires_at=at + LONGEST,
            source=source[:64],
        )
    )
    user.signed_in_at = at
    return token


def find(session: Transaction, token: str, at: datetime) -> tuple[User, datetime] | None:
    """Whose a token is, and when it was last seen; None for one that is over, or whose user is disabled."""
    row = session.get(Session, _hash(token))
    if row is None or row.expires_at <= at or row.seen_at + IDLE <= at:
        return None
    user = session.get(User, row.user_id)
    return (user, row.seen_at) if user is not None and not user.disabled else None


def seen(session: Transaction, token: str, at: datetime) -> None:
    """Keeps a session from ending for idleness."""
    session.execute(update(Session).where(Session.token_hash == _hash(token)).values(seen_at=at))


def end(session: Transaction, token: str) -> None:
    """Signs a browser out."""
    session.execute(delete(Session).where(Session.token_hash == _hash(token)))


def csrf_of(token: str) -> str:
    """What a form sent by this browser must carry: known to its pages, not to other sites."""
    return hmac.new(token.encode(), b"lineside csrf", hashlib.sha256).hexdigest()


def make_link(session: Transaction, user: User, at: datetime, lasts: timedelta = LINK_LASTS) -> str:
    """A token that signs in once."""
    token = secrets.token_urlsafe(32)
    session.add(SignInLink(token_hash=_hash(token), user_id=user.id, expires_at=at + lasts))
    return token


def use_link(session: Transaction, token: str, at: datetime) -> User | None:
    """The user of a link, which is used up by this; None for one that is over, used or unknown."""
    used = session.execute(
        update(SignInLink)
        .where(
            SignInLink.token_hash == _hash(token), SignInLink.used_at.is_(None), SignInLink.expires_at > at
        )
        .values(used_at=at)
    )
    if used.rowcount != 1:  # type: ignore[attr-defined]  # an UPDATE's result has it
        return None
    row = session.scalars(select(SignInLink).where(SignInLink.token_hash == _hash(token))).one()
    user = session.get(User, row.user_id)
    return user if user is not None and not user.disabled else None
