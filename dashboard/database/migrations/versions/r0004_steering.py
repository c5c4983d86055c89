"""Settings, alerts, enrolments, golden sets and rollouts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "golden_sets",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("recipe", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_golden_sets"),
        sa.UniqueConstraint("recipe", "name", name="uq_golden_sets_recipe_name"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("device_id", BIG_ID, nullable=True),
        sa.Column("station_id", BIG_ID, nullable=True),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", BIG_ID, nullable=True),
        sa.ForeignKeyConstraint(["acknowledged_by"], ["users.id"], name="fk_alerts_acknowledged_by"),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name="fk_alerts_device_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["station_id"], ["stations.id"], name="fk_alerts_station_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
    )
    op.create_index("ix_alerts_began_at", "alerts", ["began_at"], unique=False)
    op.create_index(
        "ix_alerts_rule_alerts_key_alerts_ended_at", "alerts", ["rule", "key", "ended_at"], unique=False
    )
    op.create_table(
        "enrolments",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("device", sa.String(length=200), nullable=False),
        sa.Column("address", sa.String(length=300), nullable=False),
        sa.Column("fingerprint", sa.String(length=128), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", BIG_ID, nullable=True),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name="fk_enrolments_decided_by"),
        sa.PrimaryKeyConstraint("id", name="pk_enrolments"),
        sa.UniqueConstraint("fingerprint", name="uq_enrolments_fingerprint"),
    )
    op.create_table(
        "rollouts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("created_by", BIG_ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name="fk_rollouts_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
    )
    op.create_index("ix_rollouts_created_at", "rollouts", ["created_at"], unique=False)
    op.create_table(
        "golden_parts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("golden_set", BIG_ID, nullable=False),
        sa.Column("result", BIG_ID, nullable=True),
        sa.Column("evidence_id", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(
            ["golden_set"], ["golden_sets.id"], name="fk_golden_parts_golden_set", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["result"], ["results.id"], name="fk_golden_parts_result", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_golden_parts"),
    )
    op.create_index("ix_golden_parts_golden_set", "golden_parts", ["golden_set"], unique=False)
    op.create_table(
        "rollout_devices",
        sa.Column("rollout", BIG_ID, nullable=False),
        sa.Column("device_id", BIG_ID, nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name="fk_rollout_devices_device_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["rollout"], ["rollouts.id"], name="fk_rollout_devices_rollout", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rollout", "device_id", name="pk_rollout_devices"),
    )
