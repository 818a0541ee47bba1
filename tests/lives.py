"""Drives jobs through their lives by the functions a worker uses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import pytest
from pydantic import JsonValue
from sqlalchemy import select

from domain import artifacts, claims, db, job_patch, jobs, pausing, progress
from domain.claims import Claim
from domain.job_errors import JobError
from domain.job_status import Status
from domain.settings import get_settings
from domain.tables import Checkpoint, Job
from tests import factories, trainer_lines
from vader_core.lines import AnyLine

BROKEN = JobError(code="internal", message="It broke.", step=3)


def waiting(**changes: object) -> Job:
    """A queued job of a project of its own."""
    with db.transaction() as session:
        project = factories.project(session)
        return factories.job(session, project.id, **changes)


def claimed(worker: str = "worker-1", *, hardware: str = "cpu x2") -> Claim:
    """The claim on the next waiting job."""
    with db.transaction() as session:
        claim = claims.claim(session, worker=worker, hardware=hardware)
    assert claim is not None
    return claim


def told(claim: Claim, *lines: AnyLine) -> Job:
    """The job after the trainer's lines."""
    with db.transaction() as session:
        return progress.record(session, job_id=claim.job_id, attempt=claim.attempt, lines=lines)


def training(**changes: object) -> Claim:
    """The claim on a fresh job that is running."""
    waiting(**changes)
    claim = claimed()
    told(claim, trainer_lines.started(), trainer_lines.phase("training"))
    return claim


def checkpointed(claim: Claim, steps: Sequence[int] = (10,)) -> None:
    """Stores checkpoints of these steps."""
    with db.transaction() as session:
        for step in steps:
            line = trainer_lines.checkpoint(step)
            prefix = f"{artifacts.attempt_prefix(claim.job_id, claim.attempt)}/{line.path}"
            artifacts.add_checkpoint(
                session, job_id=claim.job_id, attempt=claim.attempt, line=line, prefix=prefix
            )


def finalizing(**changes: object) -> Claim:
    """The claim on a job that has trained, been evaluated, and stored all it yields."""
    claim = training(**changes)
    told(claim, *(trainer_lines.step(number) for number in range(1, 21)))
    checkpointed(claim, (10, 20))
    told(claim, trainer_lines.evaluation(), trainer_lines.done())
    holder = {"job_id": claim.job_id, "attempt": claim.attempt}
    prefix = artifacts.attempt_prefix(claim.job_id, claim.attempt)
    with db.transaction() as session:
        for role in ("base", "adapter"):
            line = trainer_lines.sample(role=role)
            key = f"{prefix}/{line.file.path}"
            artifacts.add_sample(session, **holder, line=line, key=key)
        artifacts.add_sheet(
            session, **holder, line=trainer_lines.sheet(), key=f"{prefix}/sheet.png"
        )
        artifacts.add_adapter(
            session, **holder, line=trainer_lines.done(), prefix=f"{prefix}/adapter"
        )
    return claim


def ended(claim: Claim, to: Status, *, error: JobError | None = None) -> Job:
    """The job, ended by its worker."""
    reason = "completed_steps" if to is Status.SUCCEEDED else None
    with db.transaction() as session:
        return claims.finish(
            session,
            job_id=claim.job_id,
            attempt=claim.attempt,
            to=to,
            stop_reason=reason,
            error=error,
        )


def succeeded(**changes: object) -> Job:
    """A job that went well from start to end."""
    return ended(finalizing(**changes), Status.SUCCEEDED)


def cancel(job_id: UUID, *, keep_adapter: bool = True) -> Job:
    """The job after somebody asked to cancel it."""
    with db.transaction() as session:
        job = session.get_one(Job, job_id)
        return jobs.request_cancel(
            session, project_id=job.project_id, job_id=job_id, keep_adapter=keep_adapter
        )


def asked_to_pause(job_id: UUID) -> Job:
    """The job after somebody asked to pause it."""
    with db.transaction() as session:
        project_id = session.get_one(Job, job_id).project_id
        return pausing.request(session, project_id=project_id, job_id=job_id)


def paused(claim: Claim, *, reason: str = "requested") -> Job:
    """The job after its worker has paused it, whose trainer knew no budget but that of the claim."""
    stopped_by = None if reason == "requested" else claim.budget
    with db.transaction() as session:
        return claims.pause(
            session,
            job_id=claim.job_id,
            attempt=claim.attempt,
            reason=reason,
            stopped_by=stopped_by,
        )


def resumed(job_id: UUID) -> Job:
    """The job after somebody resumed it."""
    with db.transaction() as session:
        project_id = session.get_one(Job, job_id).project_id
        return pausing.resume(session, project_id=project_id, job_id=job_id)


def patched(job_id: UUID, seen: Collection[int] | None = None, **document: JsonValue) -> Job:
    """The job after a change of its name, labels, priority or budget."""
    with db.transaction() as session:
        project_id = session.get_one(Job, job_id).project_id
        return job_patch.patch(
            session, project_id=project_id, job_id=job_id, document=document, seen=seen
        ).job


def now(job_id: UUID) -> Job:
    """The job's row as it is."""
    with db.read() as session:
        return session.get_one(Job, job_id)


@contextmanager
def changed_settings(monkeypatch: pytest.MonkeyPatch, **values: str) -> Iterator[None]:
    """Other settings while the block runs."""
    with monkeypatch.context() as changes:
        for name, value in values.items():
            changes.setenv(f"VADER_{name.upper()}", value)
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


def pruned(claim: Claim, *, keep_last: int) -> list[artifacts.GivenUp]:
    """What is given up when all but the newest checkpoints are."""
    with db.transaction() as session:
        return artifacts.prune_checkpoints(
            session, job_id=claim.job_id, attempt=claim.attempt, keep_last=keep_last
        )


def expire_checkpoints(claim: Claim) -> None:
    """Gives up every checkpoint of a job, as some time after its end."""
    with db.transaction() as session:
        rows = session.scalars(select(Checkpoint).where(Checkpoint.job_id == claim.job_id))
        for row in rows:
            row.expired_at = db.utc_now()
