"""From what is known of a job that might be made to the shape that clients see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from api.job_request import AskedJob
from api.schemas.dry_runs import (
    CostShape,
    DryRun,
    EstimateShape,
    FirstCeilingShape,
    HardwareShape,
    MemoryBreakdown,
    MemoryShape,
    QuantilesShape,
    QueriesShape,
    QuotaShape,
    StorageShape,
    WarningShape,
    WouldStart,
)
from domain import capacity
from domain.estimates import Estimate, Quantiles, fits
from domain.hardware_classes import HardwareClass
from domain.memory_estimates import GIB, Memory
from domain.queue_waits import Wait
from domain.quotas import Quota
from domain.settings import get_settings
from vader_core.faults import Fault
from vader_core.spec import spec_hash


def whole(
    asked: AskedJob, found: Estimate, *, quota: QuotaShape, warnings: Sequence[Fault]
) -> DryRun:
    """The answer to a dry run."""
    return DryRun(
        spec_hash=spec_hash(asked.spec),
        resolved_spec=asked.spec,
        template=asked.ties.template,
        estimate=_estimate(found),
        quota=quota,
        warnings=[
            WarningShape(pointer=fault.pointer, code=fault.code, detail=fault.detail)
            for fault in warnings
        ],
    )


def quota(state: Mapping[str, Quota], *, reason: str | None, wait: Wait) -> QuotaShape:
    """What is left of the project's quotas; `reason` says what keeps its jobs from starting."""
    gpu_seconds, storage = state["gpu_seconds_a_month"], state["storage_bytes"]
    running, queued = state["running_jobs"], state["queued_jobs"]
    return QuotaShape(
        gpu_seconds_left_this_month=gpu_seconds.left,
        resets_at=gpu_seconds.resets_at,
        running_jobs=int(running.used),
        max_running_jobs=running.limit,
        queued_jobs=int(queued.used),
        max_queued_jobs=queued.limit,
        storage_gib_left=None if storage.left is None else _rounded(storage.left / GIB),
        would_start="not_accepted" if queued.left == 0 else _would_start(reason, wait),
    )


def _would_start(reason: str | None, wait: Wait) -> WouldStart:
    if reason is not None:
        return "project_concurrency" if reason == "project_concurrency" else "quota"
    if wait.p50 is None:
        return "not_known"
    return "now" if wait.p50 == 0 else "when_a_worker_is_free"


def _estimate(found: Estimate) -> EstimateShape:
    storage_basis, storage = found.storage_gib
    return EstimateShape(
        basis=found.gpu_seconds.basis,
        similar_runs=len(found.runs),
        steps=found.plan.steps,
        reward_queries=QueriesShape(
            basis="analytic",
            train=found.plan.training_queries,
            evaluation=found.plan.evaluation_queries,
        ),
        gpu_seconds=_quantiles(found.gpu_seconds),
        wall_clock_s=_quantiles(found.wall_clock_s),
        queue_wait_s=_quantiles(found.queue_wait_s),
        vram_gib=_memory(found.memory),
        hardware=_hardware(found.memory, found.hardware),
        storage_gib=StorageShape(basis=storage_basis, total=_rounded(storage)),
        cost=CostShape(
            basis=found.cost.basis,
            p50=None if found.cost.p50 is None else str(found.cost.p50),
            p90=None if found.cost.p90 is None else str(found.cost.p90),
            currency=get_settings().currency,
        ),
        first_ceiling=FirstCeilingShape(
            basis=found.first_ceiling.basis,
            p50=found.first_ceiling.p50,
            p90=found.first_ceiling.p90,
        ),
    )


def _quantiles(found: Quantiles | Wait) -> QuantilesShape:
    return QuantilesShape(basis=found.basis, p50=_rounded(found.p50, 1), p90=_rounded(found.p90, 1))


def _memory(memory: Memory) -> MemoryShape:
    parts = memory.breakdown
    return MemoryShape(
        basis=memory.basis,
        peak=_rounded(memory.peak),
        at_least=_rounded(memory.at_least),
        breakdown=None
        if parts is None
        else MemoryBreakdown(**{name: round(gib, 2) for name, gib in parts.items()}),
        detail=memory.detail,
    )


def _hardware(memory: Memory, classes: Sequence[HardwareClass]) -> list[HardwareShape]:
    selected = capacity.expected_class(capacity.estimated(memory), classes)
    need = memory.at_least if memory.peak is None else memory.peak
    return [
        HardwareShape.model_validate(
            {
                "class": kind.name,
                "memory_gib": kind.memory_gib,
                "workers": kind.workers,
                "fits": fits(memory, kind),
                "selected": kind is selected,
                "needs": f"{need:.1f} GiB on one GPU" if fits(memory, kind) is False else None,
            }
        )
        for kind in classes
    ]


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
