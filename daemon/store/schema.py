"""The tables. `results.record` is the truth; the other columns and tables index it.

Migrations in `migrations/versions` build these tables; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

HEAD_REVISION = "0003"
"""The newest migration: a database at this revision opens without loading Alembic."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Accepted triggers without a verdict yet: a row goes when its verdict comes, in one transaction.
intakes = Table(
    "intakes",
    metadata,
    Column("ordinal", Integer, primary_key=True),
    Column("result_id", String, nullable=False, unique=True),
    Column("record", Text, nullable=False),
    sqlite_autoincrement=True,
)

# One row a verdict; `sequence` is the outbox cursor of every consumer.
results = Table(
    "results",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("result_id", String, nullable=False, unique=True),
    Column("station", String, nullable=False),
    Column("part_id", String, nullable=False, index=True),
    Column("verdict", String, nullable=False),
    Column("decided_at", String, nullable=False, index=True),
    Column("record", Text, nullable=False),
    Column("row_hash", String(64), nullable=False),
    Index("ix_results_station_sequence", "station", "sequence"),
    Index("ix_results_verdict_sequence", "verdict", "sequence"),
)

findings = Table(
    "findings",
    metadata,
    Column("sequence", ForeignKey("results.sequence"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("ask", String, nullable=False),
    Column("label", String, nullable=False, index=True),
    Column("is_defect", Boolean, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("text", String),
)

# One row a stored file. `rank` is the worth of the best verdict that names it (see retention.RANKS),
# `keep_until_s` the latest time of keeping among its results, in seconds of `witnessed.WitnessedTime`;
# null: as long as the quota lasts.
evidence_files = Table(
    "evidence_files",
    metadata,
    Column("evidence_id", String(64), primary_key=True),
    Column("size_bytes", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("last_sequence", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("keep_until_s", Integer),
    Index("ix_evidence_files_eviction", "state", "rank", "last_sequence"),
    Index("ix_evidence_files_expiry", "state", "keep_until_s"),
)

# Which result names which file, in the order of the record.
evidence = Table(
    "evidence",
    metadata,
    Column("sequence", ForeignKey("results.sequence"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("evidence_id", ForeignKey("evidence_files.evidence_id"), nullable=False, index=True),
)

# Everything up to `cursor` is acknowledged by the consumer; beyond it, only what `acknowledgements` lists.
consumers = Table(
    "consumers",
    metadata,
    Column("consumer", String, primary_key=True),
    Column("cursor", Integer, nullable=False),
)

acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("consumer", String, primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
)

# Totals kept with the rows, so that a count costs nothing after millions of parts.
tallies = Table(
    "tallies",
    metadata,
    Column("station", String, primary_key=True),
    Column("verdict", String, primary_key=True),
    Column("total", Integer, nullable=False),
)

# Small facts of the device: part counters, where the chain starts, what was evicted.
device_state = Table(
    "device_state",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)

# What a client's `request_id` led to, so that a repeated call changes nothing. The newest are kept.
requests = Table(
    "requests",
    metadata,
    Column("ordinal", Integer, primary_key=True),
    Column("scope", String, nullable=False),
    Column("request_id", String, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("outcome", String, nullable=False),
    Index("uq_requests_scope_request_id", "scope", "request_id", unique=True),
    sqlite_autoincrement=True,
)

# Who changed what; a hash chain of its own. The newest are kept.
changes = Table(
    "changes",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("record", Text, nullable=False),
    Column("row_hash", String(64), nullable=False),
    sqlite_autoincrement=True,
)

# What people decided about verdicts.
reviews = Table(
    "reviews",
    metadata,
    Column("review", Integer, primary_key=True),
    Column("result_id", String, nullable=False, index=True),
    Column("record", Text, nullable=False),
    sqlite_autoincrement=True,
)

# Job orders of the plant. `record` holds what is not a column.
jobs = Table(
    "jobs",
    metadata,
    Column("ordinal", Integer, primary_key=True),
    Column("job", String, nullable=False, unique=True),
    Column("station", String, nullable=False),
    Column("state", String, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("record", Text, nullable=False),
    Index("ix_jobs_station_state", "station", "state"),
    sqlite_autoincrement=True,
)

# Verdicts under a job.
job_tallies = Table(
    "job_tallies",
    metadata,
    Column("job", String, primary_key=True),
    Column("verdict", String, primary_key=True),
    Column("total", Integer, nullable=False),
)
