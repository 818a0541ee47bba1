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


def gpu_gib(hardware: str) -> float | None:
    """The memory of one GPU, of what a worker says of itself; None where there is none, or several kinds."""
    gpus = _gpus(hardware)
    return None if gpus is None else float(gpus["gib"])


def _class(hardware: str, *, workers: int) -> HardwareClass:
    gpus = _gpus(hardware)
    name = hardware if gpus is None else f"{gpus['name']} x{gpus['count']}"
    return HardwareClass(name=name, memory_gib=gpu_gib(hardware), workers=workers)


def _gpus(hardware: str) -> re.Match[str] | None:
    """Of what `worker.hardware.describe` writes: "1 x NVIDIA H100 80GB HBM3 (80 GiB)"."""
    return None if " GiB), " in hardware else _GPUS.fullmatch(hardware)
