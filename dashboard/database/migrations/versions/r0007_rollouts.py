"""Recipe drafts, engine bundles, and how far each device of a rollout is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "recipe_drafts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("recipe", sa.String(length=200), nullable=False),
        sa.Column("base", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("writers", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", BIG_ID, nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name="fk_recipe_drafts_decided_by"),
        sa.PrimaryKeyConstraint("id", name="pk_recipe_drafts"),
    )
    op.create_index("ix_recipe_drafts_recipe", "recipe_drafts", ["recipe"], unique=False)
    op.create_table(
        "engine_bundles",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.String(length=32), nullable=False),
        sa.Column("signature_by", sa.String(length=200), nullable=False),
        sa.Column("uploaded_by", BIG_ID, nullable=False),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["uploaded_by"], ["users.id"], name="fk_engine_bundles_uploaded_by"),
        sa.PrimaryKeyConstraint("sha256", name="pk_engine_bundles"),
    )
    op.create_index("ix_engine_bundles_digest", "engine_bundles", ["digest"], unique=False)
    op.add_column("rollouts", sa.Column("bundle", sa.String(length=64), nullable=False, server_default=""))
    op.add_column(
        "rollout_devices", sa.Column("before", sa.String(length=64), nullable=False, server_default="")
    )
    op.add_column("rollout_devices", sa.Column("attempt", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("rollout_devices", sa.Column("since", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Removes them."""
    for column in ("since", "attempt", "before"):
        op.drop_column("rollout_devices", column)
    op.drop_column("rollouts", "bundle")
    op.drop_table("engine_bundles")
    op.drop_table("recipe_drafts")
