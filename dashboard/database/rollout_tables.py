"""Recipe texts that are being written, and engine bundles that can be rolled out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from lineside.dashboard.database.base import Base, BigId


class RecipeDraft(Base):
    """A recipe text from its first word to its approval. Who wrote any of it may not approve it.

    `hash` is the content hash that a device gave it when it checked this very text; empty until then.
    """

    __tablename__ = "recipe_drafts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    recipe: Mapped[str] = mapped_column(String(200), index=True)
    base: Mapped[str] = mapped_column(String(64), default="")  # hash of the version it was begun from
    text: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))  # open, proposed, approved, refused
    hash: Mapped[str] = mapped_column(String(64), default="")
    version: Mapped[int] = mapped_column(BigInteger, default=0)
    writers: Mapped[list[int]] = mapped_column(JSON, default=list)  # ids of all who saved it
    note: Mapped[str] = mapped_column(Text, default="")
    revision: Mapped[int] = mapped_column(default=1)  # counts savings: nobody overwrites another's
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    decided_at: Mapped[datetime | None]


class EngineBundle(Base):
    """An uploaded `.lsengine` file whose every hash was checked. The file lies in the folder of bundles."""

    __tablename__ = "engine_bundles"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)  # of the file; its name as well
    digest: Mapped[str] = mapped_column(String(64))  # of the manifest: the engine's identity on devices
    name: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(String(64))
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    signature: Mapped[str] = mapped_column(String(32), default="")  # as a device said; empty: none did yet
    signature_by: Mapped[str] = mapped_column(String(200), default="")  # that device
    uploaded_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    uploaded_at: Mapped[datetime]

    __table_args__ = (Index(None, "digest"),)
