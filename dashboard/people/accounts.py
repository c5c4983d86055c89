"""Users: added, changed, disabled; every change with its row in the audit. Nobody is ever made by default."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session as Transaction

from lineside.dashboard.database.people_tables import Session, User, UserLineRight
from lineside.dashboard.people import audit
from lineside.dashboard.people.passwords import hash_password
from lineside.dashboard.people.rights import Person, Place, Role

NAME = re.compile(r"[\w][\w.@-]{0,63}")


class RefusedAccount(ValueError):
    """A change that cannot be made; the message says why."""


def anybody(session: Transaction) -> bool:
    """Whether there is a user at all."""
    return session.scalar(select(User.id).limit(1)) is not None


def find(session: Transaction, name: str) -> User | None:
    """The user of that name."""
    return session.scalars(select(User).where(User.name == name)).one_or_none()


def get(session: Transaction, name: str) -> User:
    """The user of that name. Raises RefusedAccount where there is none."""
    user = find(session, name)
    if user is None:
        raise RefusedAccount(f"there is no user '{name}'")
    return user


def add(
    session: Transaction, name: str, role: Role | None, password: str | None, *, by: str, at: datetime
) -> User:
    """A new user; without a password they come in by link only.

    Raises:
        RefusedAccount: the name is taken or cannot be one. WeakPassword: the password is not accepted.
    """
    if not NAME.fullmatch(name):
        raise RefusedAccount("a user's name has 1 to 64 letters, digits and . @ _ -, and begins with one")
    if find(session, name) is not None:
        raise RefusedAccount(f"there is a user '{name}' already")
    user = User(
        name=name,
        role=role.word if role else None,
        password_hash=hash_password(password, name) if password is not None else None,
        created_at=at,
        password_set_at=at if password is not None else None,
    )
    session.add(user)
    session.flush()
    audit.note(session, at, by, "user.add", name, {"role": user.role})
    return user


def set_password(session: Transaction, user: User, password: str, *, by: str, at: datetime) -> None:
    """A new password; every browser of this user is signed out. Raises WeakPassword."""
    user.password_hash = hash_password(password, user.name)
    user.password_set_at = at
    sign_out_everywhere(session, user)
    audit.note(session, at, by, "user.password", user.name)


def set_role(session: Transaction, user: User, role: Role | None, *, by: str, at: datetime) -> None:
    """Another role. Raises RefusedAccount when nobody would be left who can manage users."""
    if role is not Role.ADMIN:
        _keep_an_admin(session, user)
    before, user.role = user.role, role.word if role else None
    audit.note(session, at, by, "user.role", user.name, {"from": before, "to": user.role})


def set_disabled(session: Transaction, user: User, disabled: bool, *, by: str, at: datetime) -> None:
    """Shuts a user out at once, or lets them in again. Raises RefusedAccount for the last admin."""
    if disabled:
        _keep_an_admin(session, user)
        sign_out_everywhere(session, user)
    user.disabled = disabled
    audit.note(session, at, by, "user.disable" if disabled else "user.enable", user.name)


def set_line_right(
    session: Transaction, user: User, place: Place, role: Role | None, *, by: str, at: datetime
) -> None:
    """What a user is on one line; None: as everywhere else."""
    site, area, line = place
    here = (UserLineRight.user_id == user.id, UserLineRight.site == site, UserLineRight.area == area)
    session.execute(delete(UserLineRight).where(*here, UserLineRight.line == line))
    if role is not None:
        session.add(UserLineRight(user_id=user.id, site=site, area=area, line=line, role=role.word))
    detail = {"line": "/".join(place), "role": role.word if role else None}
    audit.note(session, at, by, "user.line", user.name, detail)


def sign_out_everywhere(session: Transaction, user: User) -> None:
    """Ends every session of a user."""
    session.execute(delete(Session).where(Session.user_id == user.id))


def person(session: Transaction, user: User) -> Person:
    """A user as the rights see them."""
    rows = session.scalars(select(UserLineRight).where(UserLineRight.user_id == user.id))
    return Person(
        id=user.id,
        name=user.name,
        role=Role.read(user.role) if user.role else None,
        lines={(row.site, row.area, row.line): Role.read(row.role) for row in rows},
        language=user.language,
    )


def _keep_an_admin(session: Transaction, leaving: User) -> None:
    if leaving.role != Role.ADMIN.word or leaving.disabled:
        return
    others = select(func.count()).where(
        User.role == Role.ADMIN.word, User.disabled.is_(False), User.id != leaving.id
    )
    if not session.scalar(others):
        raise RefusedAccount(f"'{leaving.name}' is the last admin: make another one first")
