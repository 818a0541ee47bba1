"""What a job will take, before it is made: every number with how it is known, or null.

`measured`: from like jobs (`domain.similar_runs`). `analytic`: computed from the spec. `unknown`: null.
Times are those of a job that no ceiling of time ends; `first_ceiling` says which would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from sqlalchemy.orm import Session

from domain import (
    budgets,
    capacity,
    hardware_classes,
    jobs,
    memory_estimates,
    queue_waits,
    similar_runs,
    workers,
)
from domain.hardware_classes import HardwareClass
from domain.memory_estimates import Memory
from domain.queue_waits import Wait
from domain.settings import get_settings
from domain.similar_runs import Run, quantiles
from domain.storage_estimates import storage_gib
from vader_core.catalogue import Catalogue
from vader_core.plan import NOTHING_DONE, Done, Plan, plan
from vader_core.spec import JobSpec, Prompt

Basis = Literal["measured", "analytic", "unknown"]
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Quantiles:
    """The median and the 90th percentile; both None where the basis is unknown."""

    basis: Basis
    p50: float | None = None
    p90: float | None = None


_UNKNOWN = Quantiles("unknown")


@dataclass(frozen=True)
class Cost:
    """As `Quantiles`, as money of the service's currency."""

    basis: Basis
    p50: Decimal | None = None
    p90: Decimal | None = None


@dataclass(frozen=True)
class FirstCeiling:
    """The name of the ceiling that ends the job, in the median and in the slow tenth of cases."""

    basis: Basis
    p50: str | None = None
    p90: str | None = None


@dataclass(frozen=True)
class Estimate:
    """See the module. `runs` are the like jobs, `hardware` what living workers have."""

    plan: Plan
    runs: Sequence[Run]
    gpu_seconds: Quantiles
    wall_clock_s: Quantiles
    queue_wait_s: Wait
    memory: Memory
    hardware: Sequence[HardwareClass]
    storage_gib: tuple[Basis, float | None]
    cost: Cost
    first_ceiling: FirstCeiling


@dataclass(frozen=True)
class Asked:
    """A resolved job: its `prompts` are those that its spec stands for, `done` what it starts with."""

    spec: JobSpec
    prompts: Sequence[Prompt]
    done: Done = NOTHING_DONE


def estimate(session: Session, asked: Asked, catalogue: Catalogue, *, now: datetime) -> Estimate:
    """What `asked` will take, on the workers that live now."""
    spec = asked.spec
    planned = plan(spec, asked.prompts, done=asked.done)
    living = workers.living(session)
    runs = similar_runs.find(session, spec, hardware=[worker.hardware for worker in living])
    gpu_seconds = _gpu_seconds(runs, planned)
    wall_clock_s = _wall_clock_s(runs, planned)
    memory = memory_of(session, spec, catalogue)
    wait = queue_waits.of_new(
        session, priority=jobs.PRIORITIES[spec.priority], need=capacity.estimated(memory)
    )
    needs = {
        "max_gpu_seconds": gpu_seconds,
        "max_cost": gpu_seconds,
        "max_wall_clock_s": wall_clock_s,
        "deadline_at": _until_the_end(wait, wall_clock_s),
    }
    return Estimate(
        plan=planned,
        runs=runs,
        gpu_seconds=gpu_seconds,
        wall_clock_s=wall_clock_s,
        queue_wait_s=wait,
        memory=memory,
        hardware=hardware_classes.classes(living),
        storage_gib=storage_gib(session, spec, planned, runs),
        cost=_cost(gpu_seconds),
        first_ceiling=_first_ceiling(asked, planned, needs, now=now),
    )


def memory_of(session: Session, spec: JobSpec, catalogue: Catalogue) -> Memory:
    """`memory` of the estimate of the resolved `spec`, without the rest."""
    return memory_estimates.memory(spec, catalogue, similar_runs.peaks(session, spec))


def _gpu_seconds(runs: Sequence[Run], planned: Plan) -> Quantiles:
    return _measured([similar_runs.gpu_seconds(run, planned) for run in runs])


def _wall_clock_s(runs: Sequence[Run], planned: Plan) -> Quantiles:
    """A run holds one device, so its own time is that of the GPU; starting and storing come on top."""
    return _measured(
        [
            similar_runs.gpu_seconds(run, planned) + run.outside_s
            for run in runs
            if run.outside_s is not None
        ]
    )


def _measured(values: Sequence[float]) -> Quantiles:
    found = quantiles(values)
    return _UNKNOWN if found is None else Quantiles("measured", *found)


def _cost(gpu_seconds: Quantiles) -> Cost:
    price = get_settings().gpu_second_price
    if price == 0:
        return Cost("analytic", Decimal("0.00"), Decimal("0.00"))
    if gpu_seconds.p50 is None or gpu_seconds.p90 is None:
        return Cost("unknown")
    amounts = (Decimal(str(gpu_seconds.p50)), Decimal(str(gpu_seconds.p90)))
    return Cost("measured", *((price * amount).quantize(_CENT) for amount in amounts))


def _until_the_end(wait: Wait, wall_clock_s: Quantiles) -> Quantiles:
    """Seconds from now until the job would end."""
    if wait.p50 is None or wait.p90 is None or wall_clock_s.p50 is None or wall_clock_s.p90 is None:
        return _UNKNOWN
    return Quantiles("measured", wait.p50 + wall_clock_s.p50, wait.p90 + wall_clock_s.p90)


def _first_ceiling(
    asked: Asked, planned: Plan, needs: Mapping[str, Quantiles], *, now: datetime
) -> FirstCeiling:
    """Where a ceiling of time is set and the time is not known, neither is what ends the job.

    `needs` are the seconds that the job takes, by the ceiling that limits them.
    """
    limits = _time_limits(asked, now=now)
    if not limits:
        return FirstCeiling("analytic", planned.ends_by, planned.ends_by)
    p50, p90 = {}, {}
    for name, limit in limits.items():
        needed = needs[name]
        if needed.p50 is None or needed.p90 is None:
            return FirstCeiling("unknown")
        p50[name], p90[name] = limit / needed.p50, limit / needed.p90
    return FirstCeiling("measured", _tightest(p50, planned), _tightest(p90, planned))


def _tightest(parts: Mapping[str, float], planned: Plan) -> str:
    """The ceiling that leaves the job the smallest part of what it needs; where all leave enough, that of
    its counts."""
    name = min(parts, key=parts.__getitem__)
    return name if parts[name] < 1 else planned.ends_by


def _time_limits(asked: Asked, *, now: datetime) -> dict[str, float]:
    """What the ceilings of time leave the job, in seconds; the deadline from `now`."""
    budget, done = asked.spec.budget, asked.done
    limits = {
        "max_gpu_seconds": _less(budget.max_gpu_seconds, done.gpu_seconds),
        "max_wall_clock_s": _less(budget.max_wall_clock_s, done.wall_clock_s),
        "deadline_at": None
        if budget.deadline_at is None
        else (budget.deadline_at - now).total_seconds(),
        "max_cost": _less(budgets.cost_gpu_seconds(budget), done.gpu_seconds),
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def _less(limit: float | None, spent: float) -> float | None:
    return None if limit is None else limit - spent


def fits(memory: Memory, hardware: HardwareClass) -> bool | None:
    """Whether the job fits a GPU of `hardware`; None where that is not known."""
    if hardware.memory_gib is None or (memory.peak is None and memory.at_least is None):
        return None
    if memory.peak is not None:
        return memory.peak <= hardware.memory_gib
    return False if (memory.at_least or 0.0) > hardware.memory_gib else None


def fits_nowhere(memory: Memory, hardware: Sequence[HardwareClass]) -> bool:
    """Whether it is certain that no living worker has the memory that the job takes."""
    largest = [kind.memory_gib for kind in hardware]
    if not largest or None in largest or memory.at_least is None:
        return False
    return all(memory.at_least > (gib or 0.0) for gib in largest)
