"""The database's schema, one revision a file."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

FOLDER = Path(__file__).parent


def config(database_url: str) -> Config:
    """Alembic's configuration for the database at `database_url` (postgresql://...)."""
    made = Config(FOLDER / "alembic.ini")
    made.set_main_option("script_location", str(FOLDER))
    made.attributes["database_url"] = database_url
    return made


def upgrade(database_url: str) -> None:
    """Brings the database to the newest revision. Safe to run twice and by several processes at once."""
    command.upgrade(config(database_url), "head")
