"""Where an adapter comes from: the jobs behind its job, and how the adapter itself did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, or_, select, tuple_
from sqlalchemy.orm import Session

from domain.ids import from_public
from domain.jobs import WITHOUT_SPECS
from domain.tables import Adapter, Attempt, Evaluation, Job, Json

MOST_ANCESTORS = 100


@dataclass(frozen=True)
class Link:
    """A job that another came from: `relation` is retry, extend or init_from, `start` the column
    `jobs.init_from` of the one that came from it."""

    job_id: UUID
    relation: str
    start: Json | None


def ancestors(session: Session, job: Job) -> list[Link]:
    """The jobs that `job` came from, the nearest first, at most 100."""
    found: list[Link] = []
    child: Job | None = job
    while child is not None and len(found) < MOST_ANCESTORS:
        link = _link(child)
        if link is None:
            break
        found.append(link)
        child = session.get(Job, link.job_id, options=WITHOUT_SPECS)
    return found


def _link(child: Job) -> Link | None:
    start = child.init_from
    if child.parent_job_id is not None:
        return Link(child.parent_job_id, child.parent_kind or "", start)
    if start is None:
        return None
    return Link(from_public("job", start["job_id"]), "init_from", start)


def attempt_of(session: Session, adapter: Adapter) -> Attempt:
    """The attempt that made the adapter."""
    return session.get_one(Attempt, (adapter.job_id, adapter.attempt))


def evaluations(session: Session, adapters: Sequence[Adapter]) -> dict[UUID, Evaluation]:
    """Of each adapter that was evaluated the evaluation that says most of it: the final one of its job, for
    a promoted one that of its step."""
    finals = [adapter.job_id for adapter in adapters if adapter.kind == "final"]
    steps = [(adapter.job_id, adapter.step) for adapter in adapters]
    query = select(Evaluation).where(
        or_(
            and_(Evaluation.kind == "final", Evaluation.job_id.in_(finals)),
            and_(
                Evaluation.kind == "periodic",
                tuple_(Evaluation.job_id, Evaluation.step).in_(steps),
            ),
        )
    )
    last: dict[UUID, Evaluation] = {}
    at_step: dict[tuple[UUID, int], Evaluation] = {}
    for row in session.scalars(query.order_by(Evaluation.step)):
        if row.kind == "final":
            last[row.job_id] = row
        else:
            at_step[row.job_id, row.step] = row
    found = {}
    for adapter in adapters:
        final = last.get(adapter.job_id) if adapter.kind == "final" else None
        best = final or at_step.get((adapter.job_id, adapter.step))
        if best is not None:
            found[adapter.id] = best
    return found
