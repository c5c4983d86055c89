"""The dashboard's schema over time, run by Alembic."""
