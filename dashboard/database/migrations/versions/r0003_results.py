"""Results, their counts and reviews."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "engine_versions",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("runtime", sa.String(length=64), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_engine_versions"),
        sa.UniqueConstraint(
            "name", "version", "digest", "runtime", name="uq_engine_versions_name_version_digest_runtime"
        ),
    )
    op.create_table(
        "recipe_versions",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_recipe_versions"),
        sa.UniqueConstraint("name", "version", "hash", name="uq_recipe_versions_name_version_hash"),
    )
    op.create_table(
        "hourly_defects",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("station_id", BIG_ID, nullable=False),
        sa.Column("shift", sa.String(length=64), nullable=False),
        sa.Column("recipe_id", BIG_ID, nullable=False),
        sa.Column("engine_id", BIG_ID, nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["engine_id"], ["engine_versions.id"], name="fk_hourly_defects_engine_id"),
        sa.ForeignKeyConstraint(["recipe_id"], ["recipe_versions.id"], name="fk_hourly_defects_recipe_id"),
        sa.ForeignKeyConstraint(["station_id"], ["stations.id"], name="fk_hourly_defects_station_id"),
        sa.PrimaryKeyConstraint(
            "hour", "station_id", "shift", "recipe_id", "engine_id", "label", name="pk_hourly_defects"
        ),
    )
    op.create_index(
        "ix_hourly_defects_station_id_hourly_defects_hour",
        "hourly_defects",
        ["station_id", "hour"],
        unique=False,
    )
    op.create_table(
        "hourly_verdicts",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("station_id", BIG_ID, nullable=False),
        sa.Column("shift", sa.String(length=64), nullable=False),
        sa.Column("recipe_id", BIG_ID, nullable=False),
        sa.Column("engine_id", BIG_ID, nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["engine_id"], ["engine_versions.id"], name="fk_hourly_verdicts_engine_id"),
        sa.ForeignKeyConstraint(["recipe_id"], ["recipe_versions.id"], name="fk_hourly_verdicts_recipe_id"),
        sa.ForeignKeyConstraint(["station_id"], ["stations.id"], name="fk_hourly_verdicts_station_id"),
        sa.PrimaryKeyConstraint(
            "hour", "station_id", "shift", "recipe_id", "engine_id", "verdict", name="pk_hourly_verdicts"
        ),
    )
    op.create_index(
        "ix_hourly_verdicts_station_id_hourly_verdicts_hour",
        "hourly_verdicts",
        ["station_id", "hour"],
        unique=False,
    )
    op.create_table(
        "results",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("result_id", sa.String(length=64), nullable=False),
        sa.Column("device_id", BIG_ID, nullable=False),
        sa.Column("history", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("station_id", BIG_ID, nullable=False),
        sa.Column("part_id", sa.String(length=200), nullable=False),
        sa.Column("lot", sa.String(length=200), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("defect", sa.String(length=200), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("recipe_id", BIG_ID, nullable=False),
        sa.Column("engine_id", BIG_ID, nullable=False),
        sa.Column("shift", sa.String(length=64), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("total_ms", sa.Float(), nullable=True),
        sa.Column("is_simulated", sa.Boolean(), nullable=False),
        sa.Column("clock_synchronised", sa.Boolean(), nullable=False),
        sa.Column("chained", sa.Boolean(), nullable=True),
        sa.Column("review", sa.String(length=12), nullable=False),
        sa.Column("review_because", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name="fk_results_device_id"),
        sa.ForeignKeyConstraint(["engine_id"], ["engine_versions.id"], name="fk_results_engine_id"),
        sa.ForeignKeyConstraint(["recipe_id"], ["recipe_versions.id"], name="fk_results_recipe_id"),
        sa.ForeignKeyConstraint(["station_id"], ["stations.id"], name="fk_results_station_id"),
        sa.PrimaryKeyConstraint("id", name="pk_results"),
        sa.UniqueConstraint("device_id", "history", "sequence", name="uq_results_device_id_history_sequence"),
        sa.UniqueConstraint("result_id", "device_id", name="uq_results_result_id_device_id"),
    )
    op.create_index("ix_results_decided_at", "results", ["decided_at"], unique=False)
    op.create_index(
        "ix_results_lot",
        "results",
        ["lot"],
        unique=False,
        sqlite_where=sa.text("lot IS NOT NULL"),
        postgresql_where=sa.text("lot IS NOT NULL"),
    )
    op.create_index(
        "ix_results_not_ok",
        "results",
        ["verdict", "decided_at"],
        unique=False,
        sqlite_where=sa.text("verdict <> 'OK'"),
        postgresql_where=sa.text("verdict <> 'OK'"),
    )
    op.create_index("ix_results_part_id", "results", ["part_id"], unique=False)
    op.create_index(
        "ix_results_station_id_results_decided_at", "results", ["station_id", "decided_at"], unique=False
    )
    op.create_index("ix_results_station_id_results_id", "results", ["station_id", "id"], unique=False)
    op.create_index(
        "ix_results_waiting",
        "results",
        ["station_id", "id"],
        unique=False,
        sqlite_where=sa.text("review = 'waiting'"),
        postgresql_where=sa.text("review = 'waiting'"),
    )
    op.create_table(
        "findings",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("result", BIG_ID, nullable=False),
        sa.Column("ask", sa.String(length=200), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("is_defect", sa.Boolean(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["result"], ["results.id"], name="fk_findings_result", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_findings"),
    )
    op.create_index("ix_findings_label_findings_result", "findings", ["label", "result"], unique=False)
    op.create_index("ix_findings_result", "findings", ["result"], unique=False)
    op.create_table(
        "result_records",
        sa.Column("result", BIG_ID, nullable=False),
        sa.Column("inspection", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["result"], ["results.id"], name="fk_result_records_result", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("result", name="pk_result_records"),
    )
    op.create_table(
        "reviews",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("result", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("is_second", sa.Boolean(), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["result"], ["results.id"], name="fk_reviews_result"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_reviews_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reviews"),
    )
    op.create_index("ix_reviews_result", "reviews", ["result"], unique=False)
    op.create_index(
        "ix_reviews_user_id_reviews_decided_at", "reviews", ["user_id", "decided_at"], unique=False
    )
