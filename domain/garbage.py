"""Objects that nothing needs any more: those of deleted jobs, and what attempts left behind.

An attempt stores a file first and writes its row then, so one that was cut off in between, or that lost
its lease, leaves objects to which no row points. Each is looked at once its job is over. All of this may
run twice, and may be cut off anywhere.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from domain import db, logs
from domain.artifacts import attempt_prefix, job_prefix, manifest_key
from domain.errors import Unavailable
from domain.settings import get_settings
from domain.store import ObjectStore
from domain.tables import Adapter, Attempt, Checkpoint, Job, Sample

log = logging.getLogger(__name__)
_AT_ONCE = 50


def sweep_objects(store: ObjectStore) -> int:
    """How many objects were removed. A store that is away is left for the next sweep."""
    try:
        return _purge_deleted(store) + _sweep_attempts(store)
    except Unavailable as away:
        log.warning("objects were not swept: %s", away)
        return 0


def _purge_deleted(store: ObjectStore) -> int:
    query = select(Job.id).where(Job.deleted_at.is_not(None), Job.purged_at.is_(None))
    with db.read() as session:
        job_ids = list(session.scalars(query.order_by(Job.deleted_at).limit(_AT_ONCE)))
    removed = 0
    for job_id in job_ids:
        removed += _remove(store, f"{job_prefix(job_id)}/", keep=())
        with db.transaction() as session:
            logs.forget_job(session, job_id=job_id)
            done = update(Job).where(Job.id == job_id).values(purged_at=func.clock_timestamp())
            session.execute(done)
    return removed


def _sweep_attempts(store: ObjectStore) -> int:
    long_ago = func.clock_timestamp() - timedelta(seconds=get_settings().garbage_after_s)
    query = (
        select(Attempt.job_id, Attempt.number)
        .join(Job)
        .where(Attempt.swept_at.is_(None), Attempt.ended_at < long_ago, Job.finished_at < long_ago)
        .order_by(Attempt.ended_at)
        .limit(_AT_ONCE)
    )
    with db.read() as session:
        ended = list(session.execute(query))
    return sum(_sweep_attempt(store, job_id, number) for job_id, number in ended)


def _sweep_attempt(store: ObjectStore, job_id: UUID, number: int) -> int:
    with db.read() as session:
        keep = _pointed_at(session, job_id, number)
    removed = _remove(store, f"{attempt_prefix(job_id, number)}/", keep=keep)
    with db.transaction() as session:
        done = update(Attempt).where(Attempt.job_id == job_id, Attempt.number == number)
        session.execute(done.values(swept_at=func.clock_timestamp()))
    return removed


def _pointed_at(session: Session, job_id: UUID, number: int) -> tuple[str, ...]:
    """The keys of files, and those of folders with a slash at the end, to which rows of the job point."""
    job = session.get_one(Job, job_id)
    if job.deleted_at is not None:
        return ()
    log_of = select(Attempt.log).where(Attempt.job_id == job_id, Attempt.number == number)
    samples = select(Sample.key).where(Sample.job_id == job_id, Sample.attempt == number)
    folders = [
        select(Checkpoint.prefix).where(
            Checkpoint.job_id == job_id, Checkpoint.expired_at.is_(None)
        ),
        select(Adapter.prefix).where(Adapter.job_id == job_id),
    ]
    single = [job.sheet, session.scalar(log_of)]
    # An adapter that was published has the list of its files beside it.
    published = select(Adapter.id).where(
        Adapter.job_id == job_id, Adapter.attempt == number, Adapter.kind == "final"
    )
    manifest = () if session.scalar(published) is None else (manifest_key(job_id, number),)
    return (
        *manifest,
        *session.scalars(samples),
        *(found["key"] for found in single if found is not None),
        *(f"{prefix}/" for query in folders for prefix in session.scalars(query)),
    )


def _remove(store: ObjectStore, prefix: str, *, keep: tuple[str, ...]) -> int:
    files = {key for key in keep if not key.endswith("/")}
    folders = tuple(key for key in keep if key.endswith("/"))
    removed = 0
    for key in list(store.list(prefix)):
        if key not in files and not key.startswith(folders):
            store.delete(key)
            removed += 1
    return removed
