"""Which worker processes are there."""

from __future__ import annotations

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from domain.tables import Worker


def beat(session: Session, *, worker: str, hardware: str) -> None:
    """Notes that the worker is alive."""
    row = insert(Worker).values(name=worker, hardware=hardware)
    session.execute(
        row.on_conflict_do_update(
            index_elements=[Worker.name],
            set_={"hardware": hardware, "last_seen_at": func.clock_timestamp()},
        )
    )


def canary(session: Session, *, worker: str) -> None:
    """Notes that a doorbell reached the worker: a deaf one looks alive in every other way."""
    session.execute(
        update(Worker).where(Worker.name == worker).values(last_bell_at=func.clock_timestamp())
    )
