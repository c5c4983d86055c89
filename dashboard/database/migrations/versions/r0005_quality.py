"""Counts by shift and lot, second readers, reviews on their way to devices, golden pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OPEN = sa.text("review IN ('waiting', 'second', 'disputed')")
UNSENT = sa.text(
    "refused = '' AND ((sent_at IS NULL AND undone_at IS NULL) OR "
    "(sent_at IS NOT NULL AND undone_at IS NOT NULL AND undo_sent_at IS NULL))"
)


def upgrade() -> None:
    """Creates the tables and fills them from what was counted by hour, and from the results."""
    op.add_column("stations", sa.Column("waiting", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("reviews", sa.Column("ask", sa.String(length=200), nullable=True))
    op.add_column("reviews", sa.Column("undo_sent_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("reviews", sa.Column("refused", sa.String(length=300), nullable=False, server_default=""))
    op.create_index("ix_reviews_unsent", "reviews", ["id"], sqlite_where=UNSENT, postgresql_where=UNSENT)
    op.create_index("ix_results_open", "results", ["review", "id"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.drop_index("ix_results_part_id", "results")
    op.create_index(
        "ix_results_part_id", "results", ["part_id"], postgresql_ops={"part_id": "text_pattern_ops"}
    )
    _by_shift("shift_verdicts", sa.Column("verdict", sa.String(length=16), nullable=False), versions=True)
    _by_shift("shift_defects", sa.Column("label", sa.String(length=200), nullable=False), versions=False)
    op.create_table(
        "lot_verdicts",
        sa.Column("lot", sa.String(length=200), nullable=False),
        sa.Column("station_id", BIG_ID, nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.id"], name="fk_lot_verdicts_station_id"),
        sa.PrimaryKeyConstraint("lot", "station_id", "verdict", name="pk_lot_verdicts"),
    )
    op.create_index("ix_lot_verdicts_last_at", "lot_verdicts", ["last_at"])
    op.create_table(
        "reviewed_parts",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("shift", sa.String(length=64), nullable=False),
        sa.Column("station_id", BIG_ID, nullable=False),
        sa.Column("lot", sa.String(length=200), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("because", sa.String(length=16), nullable=False),
        sa.Column("truth", sa.String(length=16), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.id"], name="fk_reviewed_parts_station_id"),
        sa.PrimaryKeyConstraint(
            "day", "shift", "station_id", "lot", "verdict", "because", "truth", name="pk_reviewed_parts"
        ),
    )
    op.create_index(
        "ix_reviewed_parts_station_id_reviewed_parts_day", "reviewed_parts", ["station_id", "day"]
    )
    op.create_index("ix_reviewed_parts_lot", "reviewed_parts", ["lot"])
    op.create_table(
        "review_skips",
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("result", BIG_ID, nullable=False),
        sa.Column("skipped_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["result"], ["results.id"], name="fk_review_skips_result", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_review_skips_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "result", name="pk_review_skips"),
    )
    op.create_table(
        "golden_pictures",
        sa.Column("evidence_id", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=32), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("evidence_id", name="pk_golden_pictures"),
    )
    _fill()


def _by_shift(name: str, last: sa.Column[str], *, versions: bool) -> None:
    ids = ["recipe", "engine"] if versions else []
    op.create_table(
        name,
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("shift", sa.String(length=64), nullable=False),
        sa.Column("station_id", BIG_ID, nullable=False),
        *(sa.Column(f"{what}_id", BIG_ID, nullable=False) for what in ids),
        last,
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.id"], name=f"fk_{name}_station_id"),
        *(
            sa.ForeignKeyConstraint([f"{what}_id"], [f"{what}_versions.id"], name=f"fk_{name}_{what}_id")
            for what in ids
        ),
        sa.PrimaryKeyConstraint(
            "day", "shift", "station_id", *(f"{what}_id" for what in ids), last.name, name=f"pk_{name}"
        ),
    )
    op.create_index(f"ix_{name}_station_id_{name}_day", name, ["station_id", "day"])


def _fill() -> None:
    day = "substr(shift, 1, 10)"
    if op.get_bind().dialect.name == "postgresql":
        day = f"CAST({day} AS DATE)"
    for statement in (
        "INSERT INTO shift_verdicts (day, shift, station_id, recipe_id, engine_id, verdict, n) "
        f"SELECT {day}, shift, station_id, recipe_id, engine_id, verdict, sum(n) FROM hourly_verdicts "
        "GROUP BY shift, station_id, recipe_id, engine_id, verdict",
        "INSERT INTO shift_defects (day, shift, station_id, label, n) "
        f"SELECT {day}, shift, station_id, label, sum(n) FROM hourly_defects "
        "GROUP BY shift, station_id, label",
        "INSERT INTO lot_verdicts (lot, station_id, verdict, n, first_at, last_at) "
        "SELECT lot, station_id, verdict, count(*), min(decided_at), max(decided_at) FROM results "
        "WHERE lot IS NOT NULL GROUP BY lot, station_id, verdict",
        "UPDATE stations SET waiting = "
        "(SELECT count(*) FROM results WHERE results.station_id = stations.id AND review = 'waiting')",
    ):
        op.execute(statement)
