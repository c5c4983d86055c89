"""The first tables: intakes, results, findings, evidence, consumers, tallies, device state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates every table."""
    op.create_table(
        "intakes",
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("result_id", sa.String(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("ordinal", name="pk_intakes"),
        sa.UniqueConstraint("result_id", name="uq_intakes_result_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "results",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("result_id", sa.String(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("part_id", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("decided_at", sa.String(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("row_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_results"),
        sa.UniqueConstraint("result_id", name="uq_results_result_id"),
    )
    op.create_index("ix_results_part_id", "results", ["part_id"])
    op.create_index("ix_results_decided_at", "results", ["decided_at"])
    op.create_index("ix_results_station_sequence", "results", ["station", "sequence"])
    op.create_index("ix_results_verdict_sequence", "results", ["verdict", "sequence"])
    op.create_table(
        "findings",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ask", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("is_defect", sa.Boolean(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("text", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", "position", name="pk_findings"),
        sa.ForeignKeyConstraint(["sequence"], ["results.sequence"], name="fk_findings_sequence_results"),
    )
    op.create_index("ix_findings_label", "findings", ["label"])
    op.create_table(
        "evidence_files",
        sa.Column("evidence_id", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("last_sequence", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("evidence_id", name="pk_evidence_files"),
    )
    op.create_index("ix_evidence_files_eviction", "evidence_files", ["state", "rank", "last_sequence"])
    op.create_table(
        "evidence",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("evidence_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", "position", name="pk_evidence"),
        sa.ForeignKeyConstraint(["sequence"], ["results.sequence"], name="fk_evidence_sequence_results"),
        sa.ForeignKeyConstraint(
            ["evidence_id"], ["evidence_files.evidence_id"], name="fk_evidence_evidence_id_evidence_files"
        ),
    )
    op.create_index("ix_evidence_evidence_id", "evidence", ["evidence_id"])
    op.create_table(
        "consumers",
        sa.Column("consumer", sa.String(), nullable=False),
        sa.Column("cursor", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", name="pk_consumers"),
    )
    op.create_table(
        "acknowledgements",
        sa.Column("consumer", sa.String(), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("consumer", "sequence", name="pk_acknowledgements"),
    )
    op.create_table(
        "tallies",
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("station", "verdict", name="pk_tallies"),
    )
    op.create_table(
        "device_state",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_device_state"),
    )
