"""Pictures get a time of keeping. Those stored before have none: they stay as long as the quota lasts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column and the index that finds what is over."""
    op.add_column("evidence_files", sa.Column("keep_until_s", sa.Integer(), nullable=True))
    op.create_index("ix_evidence_files_expiry", "evidence_files", ["state", "keep_until_s"])
