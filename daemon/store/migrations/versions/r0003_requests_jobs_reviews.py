"""Repeatable requests, job orders, reviews, and who changed what. Nothing that was stored changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the tables."""
    op.create_table(
        "requests",
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("ordinal", name="pk_requests"),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_requests_scope_request_id", "requests", ["scope", "request_id"], unique=True)
    op.create_table(
        "changes",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("row_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_changes"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "reviews",
        sa.Column("review", sa.Integer(), nullable=False),
        sa.Column("result_id", sa.String(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("review", name="pk_reviews"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_reviews_result_id", "reviews", ["result_id"])
    op.create_table(
        "jobs",
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("ordinal", name="pk_jobs"),
        sa.UniqueConstraint("job", name="uq_jobs_job"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_station_state", "jobs", ["station", "state"])
    op.create_table(
        "job_tallies",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("job", "verdict", name="pk_job_tallies"),
    )
