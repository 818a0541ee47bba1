"""How Alembic reaches the database. Run by Alembic only."""

from __future__ import annotations

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from domain import (
    access_tables,
    adapter_tables,
    generation_table,
    log_table,
    scoring_table,
    service_tables,
    template_tables,
    upload_table,
    webhook_tables,
)
from domain.db import sqlalchemy_url
from domain.settings import get_settings
from domain.tables import Base

MIGRATION_LOCK = 7_306_001
TABLES = (
    access_tables,
    adapter_tables,
    generation_table,
    log_table,
    scoring_table,
    service_tables,
    template_tables,
    upload_table,
    webhook_tables,
)
"""Importing them puts their tables into the one metadata."""


def run() -> None:
    """Applies the asked revisions in one transaction, one process at a time."""
    url = context.config.attributes.get("database_url")
    if url is None:
        url = get_settings().database_url.get_secret_value()
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata)
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        context.run_migrations()


run()
