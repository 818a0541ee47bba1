"""What a job forgets when an attempt goes on from an older step than the one before had reached.

Steps beyond it are done anew and may come out otherwise: the adapter never had the old ones. Counters and
events stay, for what was spent is spent and what was told was told.
"""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from domain.best_checkpoint import best_evaluation
from domain.tables import Evaluation, Event, Job, Json, MetricPoint, Sample


def forget_after(session: Session, job: Job, *, step: int) -> None:
    """Takes back points, evaluations and samples beyond `step`, from which the job goes on.

    `job` is locked. Objects of samples that go are swept after the job's end.
    """
    for table in (MetricPoint, Evaluation, Sample):
        beyond = delete(table).where(table.job_id == job.id, table.step > step)
        session.execute(beyond.execution_options(synchronize_session=False))
    job.step = step
    job.best_evaluation = best_evaluation(session, job_id=job.id)
    if job.latest_metrics is not None and job.latest_metrics["step"] > step:
        job.latest_metrics = _line_of(session, job, step)
    if job.evaluation is not None and job.evaluation["step"] > step:
        job.evaluation = _newest_evaluation(session, job)
        # It shows the final evaluation's videos.
        job.sheet = None


def _line_of(session: Session, job: Job, step: int) -> Json | None:
    told = select(Event.data).where(
        Event.job_id == job.id, Event.type == "job.metric", Event.step == step
    )
    return session.scalar(told.order_by(Event.seq.desc()).limit(1))


def _newest_evaluation(session: Session, job: Job) -> Json | None:
    kept = select(Evaluation.data).where(Evaluation.job_id == job.id)
    newest = kept.order_by(Evaluation.step.desc(), Evaluation.created_at.desc())
    data = session.scalar(newest.limit(1))
    return data and {name: value for name, value in data.items() if name != "scores"}
