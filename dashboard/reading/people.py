"""Users and the audit as pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session as Transaction

from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.people_tables import Audit, Session, User, UserLineRight
from lineside.dashboard.people.rights import Place


@dataclass(frozen=True, slots=True)
class UserView:
    """One user. `lines`: rights of their own, by line; `browsers`: how many are signed in."""

    name: str
    role: str | None
    lines: tuple[tuple[Place, str], ...]
    disabled: bool
    has_password: bool
    created_at: datetime
    signed_in_at: datetime | None
    browsers: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of the audit: parts of the name, of the action, of what it is about. Empty: all."""

    who: str = ""
    action: str = ""
    subject: str = ""


def everybody(session: Transaction) -> list[UserView]:
    """All users by name; those shut out last."""
    return [_view(session, user) for user in session.scalars(select(User).order_by(User.disabled, User.name))]


def one(session: Transaction, name: str) -> UserView | None:
    """One user."""
    user = session.scalars(select(User).where(User.name == name)).one_or_none()
    return _view(session, user) if user is not None else None


def lines(session: Transaction) -> list[Place]:
    """Every line that a device stands on, or a right names."""
    here = session.execute(select(Device.site, Device.area, Device.line).distinct())
    named = session.execute(select(UserLineRight.site, UserLineRight.area, UserLineRight.line).distinct())
    found: set[Place] = {(site, area, line) for site, area, line in (*here, *named)}
    return sorted(place for place in found if any(place))


def audit_rows(
    session: Transaction, wanted: Wanted, page: int, rows: int
) -> tuple[Sequence[Audit], int, int]:
    """A page of the audit, newest first; with its number and how many pages there are."""
    conditions: list[ColumnElement[bool]] = []
    for column, words in (
        (Audit.who, wanted.who),
        (Audit.action, wanted.action),
        (Audit.subject, wanted.subject),
    ):
        if words:
            conditions.append(func.lower(column).contains(words.lower(), autoescape=True))
    n = session.scalar(select(func.count()).select_from(Audit).where(*conditions)) or 0
    pages = max(1, -(-n // rows))
    page = min(max(page, 1), pages)
    found = select(Audit).where(*conditions).order_by(Audit.id.desc())
    return session.scalars(found.limit(rows).offset((page - 1) * rows)).all(), page, pages


def _view(session: Transaction, user: User) -> UserView:
    rights = session.scalars(
        select(UserLineRight).where(UserLineRight.user_id == user.id).order_by(UserLineRight.line)
    )
    return UserView(
        name=user.name,
        role=user.role,
        lines=tuple(((r.site, r.area, r.line), r.role) for r in rights),
        disabled=user.disabled,
        has_password=user.password_hash is not None,
        created_at=user.created_at,
        signed_in_at=user.signed_in_at,
        browsers=session.scalar(select(func.count()).where(Session.user_id == user.id)) or 0,
    )
