"""What the dashboard keeps: one schema for SQLite and PostgreSQL, its migrations, and how to open it.

Knows no device, no page and no request. `connection` opens; `*_tables` hold the tables by who owns them;
`migrations` brings an older file up to date.
"""
