"""Alembic's environment for the device's database: run by `database.migrate` alone, never from a shell."""
