"""Which worker processes are there."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from domain.service_tables import Worker
from domain.settings import get_settings

WorkerKind = Literal["training", "scoring", "generation"]


def beat(session: Session, *, worker: str, hardware: str, kind: WorkerKind = "training") -> None:
    """Notes that the worker is alive."""
    row = insert(Worker).values(name=worker, kind=kind, hardware=hardware)
    session.execute(
        row.on_conflict_do_update(
            index_elements=[Worker.name],
            set_={"hardware": hardware, "last_seen_at": func.clock_timestamp()},
        )
    )


def living(session: Session) -> list[Worker]:
    """The workers that train and have shown a sign of life within the time of a lease."""
    since = func.clock_timestamp() - timedelta(seconds=get_settings().lease_s)
    query = select(Worker).where(Worker.kind == "training", Worker.last_seen_at > since)
    return list(session.scalars(query.order_by(Worker.name)))


def last_seen(session: Session) -> list[tuple[str, datetime]]:
    """Each kind of hardware that has trained, and when a worker with it last showed a sign of life."""
    query = select(Worker.hardware, func.max(Worker.last_seen_at)).group_by(Worker.hardware)
    rows = session.execute(query.where(Worker.kind == "training"))
    return [(hardware, seen_at) for hardware, seen_at in rows]


def heard(session: Session, *, worker: str) -> None:
    """Notes that a doorbell reached the worker: a deaf one looks alive in every other way."""
    session.execute(
        update(Worker).where(Worker.name == worker).values(last_bell_at=func.clock_timestamp())
    )


def due_canaries(session: Session) -> list[str]:
    """Living training workers that are to be rung once more, each alone, to see whether they hear: one bell
    a minute. Notes that it is done; the caller rings after the commit."""
    settings = get_settings()
    now = func.clock_timestamp()
    sent = (
        update(Worker)
        .where(
            Worker.kind == "training",
            Worker.last_seen_at > now - timedelta(seconds=settings.lease_s),
            func.coalesce(Worker.canary_at, Worker.started_at)
            < now - timedelta(seconds=settings.canary_every_s),
        )
        .values(canary_at=now)
        .returning(Worker.name)
        .execution_options(synchronize_session=False)
    )
    return sorted(session.scalars(sent))


def is_deaf(session: Session, *, worker: str) -> bool:
    """Whether bells were sent to the worker for some minutes after the last one that reached it."""
    silence = timedelta(seconds=get_settings().deaf_after_s)
    heard_at = func.coalesce(Worker.last_bell_at, Worker.started_at)
    query = select(Worker.canary_at > heard_at + silence).where(Worker.name == worker)
    return bool(session.scalar(query))
