"""Who waits for whom in the tests' database."""

from __future__ import annotations

from sqlalchemy import text

from domain import db

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def somebody_waits() -> bool:
    """Whether some transaction waits for a lock this moment."""
    with db.read() as session:
        return bool(session.scalar(text(_WAITING)))
