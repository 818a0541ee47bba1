"""Which checkpoint of a job is its best: by the held-out reward of the periodic evaluation at its step.

Without such an evaluation the last one counts as best. Only checkpoints whose files are kept take part.
"""

from __future__ import annotations

from typing import TypeVarTuple
from uuid import UUID

from sqlalchemy import Select, SQLColumnExpression, and_, select
from sqlalchemy.orm import Session

from domain.tables import Checkpoint, Evaluation, Json

Columns = TypeVarTuple("Columns")


def best(session: Session, *, job_id: UUID) -> Checkpoint | None:
    """The job's best checkpoint, None where it has none."""
    return session.scalar(ranked(select(Checkpoint), job_id).limit(1))


def best_evaluation(session: Session, *, job_id: UUID) -> Json | None:
    """`heldout_reward` and `step` of the best periodic evaluation, the later one of two alike; None without any.

    Its checkpoint may have been given up, and there may be none of its step.
    """
    query = (
        select(Evaluation.heldout_reward, Evaluation.step)
        .where(Evaluation.job_id == job_id, Evaluation.kind == "periodic")
        .order_by(Evaluation.heldout_reward.desc(), Evaluation.step.desc())
        .limit(1)
    )
    row = session.execute(query).one_or_none()
    return None if row is None else {"heldout_reward": row.heldout_reward, "step": row.step}


def ranked(query: Select[*Columns], job_id: UUID | SQLColumnExpression[UUID]) -> Select[*Columns]:
    """`query`, which selects from checkpoints, over those of the job, the best first."""
    at_its_step = and_(
        Evaluation.job_id == Checkpoint.job_id,
        Evaluation.kind == "periodic",
        Evaluation.step == Checkpoint.step,
    )
    return (
        query.outerjoin(Evaluation, at_its_step)
        .where(Checkpoint.job_id == job_id, Checkpoint.expired_at.is_(None))
        .order_by(Evaluation.heldout_reward.desc().nulls_last(), Checkpoint.step.desc())
    )
