"""Which workers can hold which jobs, by the memory of one GPU.

A worker takes no job that is known to need more than its GPU has. An estimate may be wrong, so it only says
who comes first: a job that is estimated to take more than a GPU has is left to larger ones while any are there.
What is not known, of a job or of a worker, keeps nobody from anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_

from domain.hardware_classes import HardwareClass, gpu_gib
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
    room = [gpu_gib(worker.hardware) for worker in workers]
    largest = _largest(room)
    return [
        worker
        for worker, gib in zip(workers, room, strict=True)
        if _takes(need, gib, largest=largest)
    ]


def expected_class(need: Need, classes: Sequence[HardwareClass]) -> HardwareClass | None:
    """The class that is expected to run the job: the smallest that its estimate fits, or the only one that
    would take it; None where neither tells."""
    largest = _largest([kind.memory_gib for kind in classes])
    able = [kind for kind in classes if _takes(need, kind.memory_gib, largest=largest)]
    fitting: dict[float, HardwareClass] = {}
    for kind in able:
        if need.peak is not None and kind.memory_gib is not None and need.peak <= kind.memory_gib:
            fitting.setdefault(kind.memory_gib, kind)
    if fitting:
        return fitting[min(fitting)]
    return able[0] if len(able) == 1 else None


def taken_with(gib: float, living: Sequence[Worker]) -> ColumnElement[bool]:
    """SQL over `Job`: whether a worker with so much memory takes it, where `living` are there."""
    least = or_(Job.least_gib.is_(None), Job.least_gib <= gib)
    largest = largest_gib(living)
    if largest is None or gib >= largest:
        return least
    return and_(least, or_(Job.peak_gib.is_(None), Job.peak_gib <= gib))


def largest_gib(workers: Sequence[Worker]) -> float | None:
    """The memory of the largest GPU that is known; None where none is."""
    return _largest([gpu_gib(worker.hardware) for worker in workers])


def _takes(need: Need, gib: float | None, *, largest: float | None) -> bool:
    if gib is None:
        return True
    if need.least is not None and need.least > gib:
        return False
    return need.peak is None or need.peak <= gib or largest is None or gib >= largest


def _largest(room: Sequence[float | None]) -> float | None:
    return max((gib for gib in room if gib is not None), default=None)
