"""Scorings: rewards tried on a few videos, by workers of their own and not by those that train."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from domain import queue, usage
from domain.ids import new_id
from domain.scoring_table import Scoring, ScoringStatus
from domain.short_tasks import ShortTasks
from domain.tables import Json


def _used(session: Session, row: Scoring, seconds: float) -> None:
    usage.add(
        session,
        project_id=row.project_id,
        kind="scoring",
        subject_id=row.id,
        base_model="",
        gpu_seconds=seconds,
    )


TASKS = ShortTasks(
    Scoring,
    prefix="scr",
    worker="scorer",
    ring=queue.ring_scorer,
    waits_at_most=timedelta(hours=1),
    used=_used,
)


@dataclass(frozen=True)
class Asked:
    """What a client asked for: the fields of the table with these names."""

    reward: Json
    params: Json
    videos: list[Json]


def create(
    session: Session,
    asked: Asked,
    *,
    project_id: UUID,
    created_by_key_id: UUID | None,
    trace_id: str,
) -> Scoring:
    """A queued scoring; a scorer is told after the commit."""
    row = Scoring(
        id=new_id(),
        project_id=project_id,
        created_by_key_id=created_by_key_id,
        trace_id=trace_id,
        reward=asked.reward,
        params=asked.params,
        videos=asked.videos,
        status=ScoringStatus.QUEUED.value,
    )
    return TASKS.add(session, row)


def get(session: Session, *, project_id: UUID, scoring_id: UUID) -> Scoring:
    """The scoring. Raises `NotFound`, also for another project's."""
    return TASKS.get(session, project_id=project_id, row_id=scoring_id)
