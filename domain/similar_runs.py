"""How long steps and evaluations took in jobs like one that is asked for, across all projects.

Like means: the same base model and variant, the same method, and videos of up to twice or half the
pixels. Times are scaled in proportion to the denoiser's work. Only numbers leave here, never whose.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Row, func, literal_column, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from domain.db import all_projects
from domain.hardware_classes import has_gpu
from domain.job_status import Status
from domain.tables import Attempt, Evaluation, Job, MetricPoint
from vader_core.plan import Plan, pixels_of_a_video, work_of_a_video
from vader_core.spec import JobSpec

FEWEST_RUNS = 3
_MOST_RUNS = 50
_SIZE_CLASS = 2.0
_TRAINED = (
    *(Status.RUNNING, Status.PAUSING, Status.PAUSED, Status.FINALIZING),
    *(Status.SUCCEEDED, Status.CANCELLED),
)


@dataclass(frozen=True)
class Spread:
    """How far apart held-out prompts lay in a job with the very same rewards: half the 95 % interval of the
    mean difference, over `prompts` prompts."""

    half_width: float
    prompts: int


@dataclass(frozen=True)
class Run:
    """What one like job showed. Seconds of a step and of an evaluated video are already those that the
    asked job would take at the same pace; `overhead_s` is everything else (loading, export), and
    `outside_s` what the attempts held beyond the trainer's own time, None while the job goes on."""

    job_id: UUID
    hardware: str
    same_rewards: bool
    seconds_per_step: float
    seconds_per_evaluated_video: float
    overhead_s: float
    outside_s: float | None
    spread: Spread | None


def find(session: Session, spec: JobSpec, *, hardware: Sequence[str]) -> list[Run]:
    """The newest jobs like the resolved `spec` on any `hardware` (none given: on any at all).

    Where enough of them have its rewards, only those: a large reward may take longer than the sampling.
    """
    with all_projects(session):
        rows = session.execute(_alike(spec)).all()
        seconds = _step_seconds(session, [row.id for row in rows])
        evaluated = _evaluations(session, [row.id for row in rows])
    runs = [
        run
        for row in rows
        if row.id in seconds and row.id in evaluated
        if (run := _run(row, spec, step_s=seconds[row.id], evaluated=evaluated[row.id]))
        if not hardware or run.hardware in hardware
    ]
    same = [run for run in runs if run.same_rewards]
    return same if len(same) >= FEWEST_RUNS else runs


def peaks(session: Session, spec: JobSpec) -> list[int]:
    """The most bytes of a GPU that each of the newest jobs held whose memory is that of the resolved `spec`.

    Nothing but rows of jobs is read, so that it costs little where nothing else is asked.
    """
    with all_projects(session):
        rows = session.execute(_alike(spec)).all()
    return [
        row.peak_memory_bytes
        for row in rows
        if row.peak_memory_bytes and has_gpu(row.hardware)
        if (its := _as_spec(row, spec)) is not None and its.variant == spec.variant
        if same_memory(its, spec)
    ]


def quantiles(values: Sequence[float]) -> tuple[float, float] | None:
    """The median and the 90th percentile; None of too few runs."""
    if len(values) < FEWEST_RUNS:
        return None
    return statistics.median(values), statistics.quantiles(values, n=10, method="inclusive")[-1]


def gpu_seconds(run: Run, plan: Plan) -> float:
    """What the asked job would take at the pace of `run`."""
    evaluations_s = plan.evaluations * plan.pairs * run.seconds_per_evaluated_video
    return run.overhead_s + plan.steps * run.seconds_per_step + evaluations_s


def _alike(spec: JobSpec) -> Any:
    # A spec may hold thousands of prompts, which are of no use here.
    without_prompts = Job.spec.op("-")(literal_column("'prompts'"))
    return (
        select(
            *(Job.id, Job.status, Job.gpu_seconds, Job.wall_clock_s, Attempt.hardware),
            type_coerce(without_prompts, JSONB).label("spec"),
            Job.evaluation["difference"].label("difference"),
            Job.evaluation["pairs"].label("pairs"),
            Job.init_from["state"].label("start"),
            Job.latest_metrics["peak_memory_bytes"].label("peak_memory_bytes"),
        )
        .join(Attempt, (Attempt.job_id == Job.id) & (Attempt.number == Job.attempt))
        .where(
            Job.base_model == spec.base_model,
            Job.method == spec.method.type,
            Job.started_at.is_not(None),
            Job.step > 0,
            Job.status.in_(_TRAINED),
        )
        .order_by(Job.created_at.desc())
        .limit(_MOST_RUNS)
    )


def _step_seconds(session: Session, jobs: Sequence[UUID]) -> dict[UUID, tuple[float, float]]:
    """Of each job that has taken steps: the mean seconds of one, and of all together."""
    query = (
        select(MetricPoint.job_id, func.avg(MetricPoint.value), func.sum(MetricPoint.value))
        .where(MetricPoint.job_id.in_(jobs), MetricPoint.key == "seconds")
        .group_by(MetricPoint.job_id)
    )
    return {job_id: (mean, total) for job_id, mean, total in session.execute(query)}


def _evaluations(session: Session, jobs: Sequence[UUID]) -> dict[UUID, tuple[float, float]]:
    """Of each job that has evaluated: the mean seconds of one video, and of all together."""
    seconds, pairs = (Evaluation.data[name].as_float() for name in ("seconds", "pairs"))
    query = (
        select(Evaluation.job_id, func.sum(seconds), func.sum(pairs))
        .where(Evaluation.job_id.in_(jobs))
        .group_by(Evaluation.job_id)
    )
    return {job_id: (total / videos, total) for job_id, total, videos in session.execute(query)}


def _run(
    row: Row[Any],
    spec: JobSpec,
    *,
    step_s: tuple[float, float],
    evaluated: tuple[float, float],
) -> Run | None:
    """What the job of `row` tells of `spec`; None where its videos are of another size.

    One that went on from another's full state counts that one's seconds too: it tells nothing.
    """
    its = _as_spec(row, spec)
    if its is None or its.variant != spec.variant or row.start == "full":
        return None
    size = pixels_of_a_video(spec) / pixels_of_a_video(its)
    if not 1 / _SIZE_CLASS <= size <= _SIZE_CLASS:
        return None
    work = work_of_a_video(spec) / work_of_a_video(its)
    videos = spec.method.videos_per_step / its.method.videos_per_step
    steps = (spec.video.inference_steps or 1) / (its.video.inference_steps or 1)
    same_rewards = its.rewards == spec.rewards
    finished = row.status == Status.SUCCEEDED
    return Run(
        job_id=row.id,
        hardware=row.hardware,
        same_rewards=same_rewards,
        seconds_per_step=step_s[0] * work * videos,
        seconds_per_evaluated_video=evaluated[0] * size * steps,
        overhead_s=max(row.gpu_seconds - step_s[1] - evaluated[1], 0.0),
        outside_s=max(row.wall_clock_s - row.gpu_seconds, 0.0) if finished else None,
        spread=_spread(row, seeds=len(its.evaluation.seeds)) if same_rewards else None,
    )


def _as_spec(row: Row[Any], spec: JobSpec) -> JobSpec | None:
    """The spec of the job of `row`, with the prompts of `spec`."""
    try:
        return JobSpec.model_validate({**row.spec, "prompts": spec.prompts})
    except ValidationError:
        # It was written by a version of the service with other settings.
        return None


def same_memory(its: JobSpec, spec: JobSpec) -> bool:
    """Whether the other job's memory is this one's: same videos, same models that score them, and same method
    but for learning rates."""
    learning = {"learning_rate", "lr_schedule", "warmup_steps", "weight_decay", "max_grad_norm"}
    theirs, ours = (
        (job.video, job.adapter.rank, job.method.model_dump(exclude=learning), _scored_by(job))
        for job in (its, spec)
    )
    return theirs == ours


def _scored_by(spec: JobSpec) -> list[list[tuple[str, Any]]]:
    """Rewards and guards without what only weighs them."""
    return [
        sorted(((term.reward, term.params) for term in terms), key=repr)
        for terms in (spec.rewards, spec.guards or [])
    ]


def _spread(row: Row[Any], *, seeds: int) -> Spread | None:
    if not row.difference or not row.pairs:
        return None
    low, high = row.difference["delta_ci95"]
    return Spread(half_width=(high - low) / 2, prompts=row.pairs // seeds)
