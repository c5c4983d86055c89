"""Wall time, in the one place that reads it."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Now, aware."""
    return datetime.now(UTC)
