"""The kinds of machines that train: what their workers say of themselves, grouped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from domain.service_tables import Worker

_GPUS = re.compile(r"(?P<count>\d+) x (?P<name>.+) \((?P<gib>\d+) GiB\)")


@dataclass(frozen=True)
class HardwareClass:
    """Workers with the same hardware. `memory_gib` is that of one GPU, which is what a job trains on; None
    where there is no GPU, or GPUs of several kinds."""

    name: str
    memory_gib: float | None
    workers: int


def classes(workers: Sequence[Worker]) -> list[HardwareClass]:
    """The classes of `workers`, the most frequent first."""
    counted = Counter(worker.hardware for worker in workers)
    return [_class(hardware, workers=count) for hardware, count in counted.most_common()]


def has_gpu(hardware: str) -> bool:
    """Whether what a worker says of itself names a GPU."""
    return _GPUS.match(hardware) is not None


def _class(hardware: str, *, workers: int) -> HardwareClass:
    """Of what `worker.hardware.describe` writes: "1 x NVIDIA H100 80GB HBM3 (80 GiB)"."""
    gpus = _GPUS.fullmatch(hardware)
    if gpus is None or " GiB), " in hardware:
        return HardwareClass(name=hardware, memory_gib=None, workers=workers)
    name = f"{gpus['name']} x{gpus['count']}"
    return HardwareClass(name=name, memory_gib=float(gpus["gib"]), workers=workers)
