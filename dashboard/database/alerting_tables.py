"""What alerts have still to tell whom, and the tokens that let devices in.

A delivery is written in the transaction of what it tells of. Of a token only the sha256 is kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from lineside.dashboard.database.base import Base, BigId

UNDELIVERED = "delivered_at IS NULL AND given_up_at IS NULL"


class AlertDelivery(Base):
    """One message about an alert on one channel. `message_key` stays the same however often it is tried."""

    __tablename__ = "alert_deliveries"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(16))  # began, ended, escalated
    channel: Mapped[str] = mapped_column(String(64))
    message_key: Mapped[str] = mapped_column(String(64), unique=True)
    message: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(index=True)
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    trouble: Mapped[str] = mapped_column(String(300), default="")
    delivered_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("alert_id", "event", "channel"),
        Index(
            "ix_alert_deliveries_undelivered",
            "due_at",
            sqlite_where=text(UNDELIVERED),
            postgresql_where=text(UNDELIVERED),
        ),
    )


class EnrolmentToken(Base):
    """What lets one key of one device in, once. `used_by`: sha256 of the public key it was used for."""

    __tablename__ = "enrolment_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    device: Mapped[str] = mapped_column(String(200))
    names: Mapped[list[str]] = mapped_column(JSON)  # host names and addresses it may serve under
    needs_approval: Mapped[bool]
    made_by: Mapped[str] = mapped_column(String(100))
    made_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    used_by: Mapped[str | None] = mapped_column(String(64))
    certificate: Mapped[str] = mapped_column(Text, default="")  # signed by hand for it, PEM with its chain
