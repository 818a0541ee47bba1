"""Which workers can hold which jobs, by the memory of one GPU.

A worker takes no job that is known to need more than its GPU has, and one without a GPU none that the GPU of
another holds. An estimate may be wrong, so it only says who comes first: a job that is estimated to take more
than a GPU has is left to larger ones while any are there. What is not known, of a job or of GPUs, keeps nobody
from anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_

from domain.errors import DoesNotFitGpu
from domain.hardware_classes import HardwareClass, classes, gpu_gib, has_gpu
from domain.memory_estimates import Memory
from domain.service_tables import Worker
from domain.tables import Job


@dataclass(frozen=True)
class Need:
    """GiB on one GPU: `least` for certain, `peak` as estimated. None: not known."""

    least: float | None = None
    peak: float | None = None


UNKNOWN = Need()


def estimated(memory: Memory) -> Need:
    """What a job of this estimate needs."""
    return Need(memory.at_least, memory.peak)


def takers(need: Need, workers: Sequence[Worker]) -> list[Worker]:
    """Those of the living `workers` that would take the job."""
    largest = largest_gib(workers)
    return [worker for worker in workers if _takes(need, worker.hardware, largest=largest)]


def refuse_too_large(need: Need, living: Sequence[Worker]) -> None:
    """Raises `DoesNotFitGpu` where it is certain that none of the `living` workers would ever take the job."""
    if not living or takers(need, living):
        return
    raise DoesNotFitGpu(
        f"The job takes at least {need.least:.1f} GiB on one GPU; the largest that a worker has is "
        f"{largest_gib(living):.0f} GiB. Smaller videos, a smaller batch or a smaller base model take less.",
        needs_gib=round(need.least or 0.0, 2),
        breakdown={},
        hardware=[{"class": kind.name, "memory_gib": kind.memory_gib} for kind in classes(living)],
    )


def expected_class(need: Need, classes: Sequence[HardwareClass]) -> HardwareClass | None:
    """The class that is expected to run the job: the smallest that its estimate fits, or the only one that
    would take it; None where neither tells."""
    largest = _largest([kind.memory_gib for kind in classes])
    able = [kind for kind in classes if _takes_class(need, kind, largest=largest)]
    fitting: dict[float, HardwareClass] = {}
    for kind in able:
        if need.peak is not None and kind.memory_gib is not None and need.peak <= kind.memory_gib:
            fitting.setdefault(kind.memory_gib, kind)
    if fitting:
        return fitting[min(fitting)]
    return able[0] if len(able) == 1 else None


def taken_by(hardware: str, living: Sequence[Worker]) -> ColumnElement[bool] | None:
    """SQL over `Job`: whether a worker with this hardware takes it, where `living` are there. None: it takes
    every job."""
    gib, largest = gpu_gib(hardware), largest_gib(living)
    if gib is None:
        if largest is None or has_gpu(hardware):
            return None
        return or_(Job.least_gib.is_(None), Job.least_gib > largest)
    least = or_(Job.least_gib.is_(None), Job.least_gib <= gib)
    if largest is None or gib >= largest:
        return least
    return and_(least, or_(Job.peak_gib.is_(None), Job.peak_gib <= gib))


def largest_gib(workers: Sequence[Worker]) -> float | None:
    """The memory of the largest GPU that is known; None where none is."""
    return _largest([gpu_gib(worker.hardware) for worker in workers])


def most_gib(living: Sequence[Worker]) -> float | None:
    """What a job may need at the most for one of the `living` workers to take it; None where that is not known."""
    room = [gpu_gib(worker.hardware) for worker in living]
    return None if None in room else _largest(room)


def _takes(need: Need, hardware: str, *, largest: float | None) -> bool:
    return _takes_with(need, gpu_gib(hardware), is_gpu=has_gpu(hardware), largest=largest)


def _takes_class(need: Need, kind: HardwareClass, *, largest: float | None) -> bool:
    return _takes_with(need, kind.memory_gib, is_gpu=has_gpu(kind.name), largest=largest)


def _takes_with(need: Need, gib: float | None, *, is_gpu: bool, largest: float | None) -> bool:
    """`is_gpu` tells GPUs of unknown memory from none; `largest` is the largest that is there."""
    if gib is None:
        return is_gpu or need.least is None or largest is None or need.least > largest
    if need.least is not None and need.least > gib:
        return False
    return need.peak is None or need.peak <= gib or largest is None or gib >= largest


def _largest(room: Sequence[float | None]) -> float | None:
    return max((gib for gib in room if gib is not None), default=None)
