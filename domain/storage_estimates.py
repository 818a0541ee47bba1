"""How much a job will store: as like jobs did, else from the size of its adapter."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from domain.db import all_projects
from domain.job_status import Status
from domain.similar_runs import FEWEST_RUNS, Run
from domain.tables import Adapter, Checkpoint, Job, Sample
from vader_core.memory_table import training_memory
from vader_core.plan import Plan
from vader_core.spec import JobSpec

_GIB = 2**30
# The adapter and the optimiser's two moments, all in float32.
_STATES_OF_CHECKPOINT = 3
# PEFT's, diffusers' and ComfyUI's.
_LAYOUTS = 3


def storage_gib(
    session: Session, spec: JobSpec, plan: Plan, runs: Sequence[Run]
) -> tuple[Literal["measured", "analytic", "unknown"], float | None]:
    """GiB of adapter, checkpoints and samples of the resolved `spec`, and how they are known."""
    # One checkpoint is written at the end, whenever the others were.
    written = plan.steps // spec.checkpoints.every_steps + 1
    keeps_best = spec.checkpoints.keep_best_by is not None and spec.evaluation.every_steps
    kept = min(spec.checkpoints.keep_last + (1 if keeps_best else 0), written)
    videos = 2 * min(spec.evaluation.samples_to_keep, plan.pairs)
    with all_projects(session):
        found = _sizes(session, [run.job_id for run in runs], rank=spec.adapter.rank)
    if len(found) >= FEWEST_RUNS:
        adapter, checkpoint, video = (
            statistics.median(sizes) for sizes in zip(*found, strict=True)
        )
        return "measured", (adapter + kept * checkpoint + videos * video) / _GIB
    table = training_memory(spec.base_model.partition("@")[0])
    if table is None:
        return "unknown", None
    adapter = table.bytes.adapter * spec.adapter.rank / table.adapter_rank
    return "analytic", adapter * (_LAYOUTS + kept * _STATES_OF_CHECKPOINT) / _GIB


def _sizes(
    session: Session, jobs: Sequence[UUID], *, rank: int
) -> list[tuple[float, float, float]]:
    """Bytes of the adapter, of a mean checkpoint and of a mean sample of each finished job of this rank."""
    checkpoint = (
        select(func.avg(Checkpoint.size_bytes)).where(Checkpoint.job_id == Job.id).scalar_subquery()
    )
    sample = select(func.avg(Sample.size_bytes)).where(Sample.job_id == Job.id).scalar_subquery()
    query = (
        select(Adapter.size_bytes, checkpoint, sample)
        .join(Job, Job.adapter_id == Adapter.id)
        .where(
            Job.id.in_(jobs),
            Job.status == Status.SUCCEEDED,
            Job.spec["adapter"]["rank"].as_integer() == rank,
        )
    )
    return [
        (float(adapter), float(of_checkpoint or 0), float(of_sample or 0))
        for adapter, of_checkpoint, of_sample in session.execute(query)
    ]
