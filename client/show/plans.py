"""Dry runs as text."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from client.models import DryRun, Estimate, QuotaLeft, Range, WorkerClass
from client.show.tables import aligned, duration, labelled, number, show_lines


def show_plan(console: Console, plan: DryRun) -> None:
    """What the job would be and take, and on what that rests."""
    estimate = plan.estimate
    queries = estimate.reward_queries
    lines = [
        *labelled("spec", plan.spec_hash),
        *labelled("steps", number(estimate.steps)),
        *labelled(
            "queries",
            f"{number(queries.train)} in training, {number(queries.evaluation)} in evaluations",
        ),
        *labelled("estimate", _basis(estimate)),
        *labelled("", *aligned(_ranges(estimate))),
        *_memory(estimate),
        *labelled("quota", *_quota(plan.quota)),
        *labelled("warnings", *(f"{one.pointer}: {one.detail}" for one in plan.warnings)),
    ]
    show_lines(console, lines)


def _basis(estimate: Estimate) -> str:
    if estimate.basis == "measured":
        return f"measured in {estimate.similar_runs} similar runs"
    told = {"analytic": "computed, not measured", "unknown": "times unknown: nothing to go by yet"}
    return told.get(estimate.basis, estimate.basis)


def _ranges(estimate: Estimate) -> list[tuple[str, str, str, str]]:
    """A row for each figure: its name, its value in half of all runs and in nine of ten, its basis."""
    timed = {
        "GPU time": estimate.gpu_seconds,
        "wall clock": estimate.wall_clock_s,
        "in the queue": estimate.queue_wait_s,
    }
    rows = [
        (name, *_both(found, duration), found.basis)
        for name, found in timed.items()
        if found.p50 is not None
    ]
    cost, first = estimate.cost, estimate.first_ceiling
    if cost.p50 is not None:
        rows.append(
            ("cost", f"{cost.p50} {cost.currency}", f"{cost.p90} {cost.currency}", cost.basis)
        )
    if first.p50 is not None:
        rows.append(("ended by", first.p50, first.p90 or "-", first.basis))
    return [("", "half below", "9 of 10 below", ""), *rows] if rows else []


def _both(found: Range, told: Callable[[float], str]) -> tuple[str, str]:
    p50, p90 = ("-" if value is None else told(value) for value in (found.p50, found.p90))
    return p50, p90


def _memory(estimate: Estimate) -> list[str]:
    lines: list[str] = []
    memory, storage = estimate.vram_gib, estimate.storage_gib
    if memory.peak is not None:
        parts = sorted((memory.breakdown or {}).items(), key=lambda part: -part[1])
        rows = [(name.replace("_", " "), f"{gib:.3g}") for name, gib in parts]
        peak = f"{memory.peak:.3g} GiB at its highest ({memory.basis})"
        lines += labelled("GPU memory", peak, *aligned(rows))
    elif memory.at_least is not None:
        lines += labelled("GPU memory", f"at least {memory.at_least:.3g} GiB")
    if storage.total is not None:
        lines += labelled("storage", f"{storage.total:.3g} GiB ({storage.basis})")
    return lines + labelled("workers", *(_worker(worker) for worker in estimate.hardware))


def _worker(worker: WorkerClass) -> str:
    fits = {True: "fits", False: "does not fit", None: "fit not known"}[worker.fits]
    count = f"{worker.workers} worker" + ("" if worker.workers == 1 else "s")
    if worker.selected:
        fits += ", expected to run it"
    return f"{worker.name} ({count}) {fits}" + (f": needs {worker.needs}" if worker.needs else "")


def _quota(quota: QuotaLeft) -> list[str]:
    lines = [f"would start: {quota.would_start.replace('_', ' ')}"]
    lines.append(
        f"jobs running {_of(quota.running_jobs, quota.max_running_jobs)}, "
        f"queued {_of(quota.queued_jobs, quota.max_queued_jobs)}"
    )
    if quota.gpu_seconds_left_this_month is not None:
        lines.append(f"GPU time left this month {duration(quota.gpu_seconds_left_this_month)}")
    if quota.storage_gib_left is not None:
        lines.append(f"storage left {quota.storage_gib_left:.3g} GiB")
    return lines


def _of(count: int, limit: int | None) -> str:
    return f"{count}" if limit is None else f"{count} of {limit}"
