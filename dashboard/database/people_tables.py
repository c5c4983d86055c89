"""People: who they are, what they may do and where, their sessions, and what they did.

No secret is kept: passwords as scrypt hashes, session and link tokens as sha256.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from lineside.dashboard.database.base import Base, BigId


class RoleRow(Base):
    """A role; a greater rank may do all that a smaller one may. The rows come with the schema."""

    __tablename__ = "roles"

    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    rank: Mapped[int] = mapped_column(unique=True)


class User(Base):
    """A person. `role` holds on every line for which no right of their own is named; None: no other line."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(300))  # None: by link or plant sign-on only
    role: Mapped[str | None] = mapped_column(ForeignKey("roles.role"))
    disabled: Mapped[bool] = mapped_column(default=False)
    language: Mapped[str | None] = mapped_column(String(8))
    created_at: Mapped[datetime]
    password_set_at: Mapped[datetime | None]
    signed_in_at: Mapped[datetime | None]


class UserLineRight(Base):
    """What a person may do on one line, instead of their role elsewhere."""

    __tablename__ = "user_line_rights"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    site: Mapped[str] = mapped_column(String(128))
    area: Mapped[str] = mapped_column(String(128))
    line: Mapped[str] = mapped_column(String(128))
    role: Mapped[str] = mapped_column(ForeignKey("roles.role"))

    __table_args__ = (UniqueConstraint("user_id", "site", "area", "line"),)


class Session(Base):
    """A signed-in browser. `token_hash` is the sha256 of what its cookie holds."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    source: Mapped[str] = mapped_column(String(64))


class SignInLink(Base):
    """A link that signs in once."""

    __tablename__ = "sign_in_links"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SignInAttempt(Base):
    """A failed sign-in, for as long as it counts against who made it."""

    __tablename__ = "sign_in_attempts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    source: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]

    __table_args__ = (Index(None, "source", "at"), Index(None, "name", "at"))


class Audit(Base):
    """Who changed what. Only ever added to (triggers refuse the rest); a row carries the hash before it."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str] = mapped_column(String(100))  # a user, or the command line's
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(300), index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    prev_hash: Mapped[str] = mapped_column(String(64))
    row_hash: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """The end of the audit chain: one row, locked while a row is added."""

    __tablename__ = "audit_head"

    one: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_id: Mapped[int] = mapped_column(BigInteger)
    row_hash: Mapped[str] = mapped_column(String(64))
