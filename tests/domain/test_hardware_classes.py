from __future__ import annotations

from domain.hardware_classes import HardwareClass, classes, gpu_gib
from domain.service_tables import Worker

H100, CPU = "1 x NVIDIA H100 80GB HBM3 (80 GiB)", "CPU, 2 cores, 16 GiB"


def test_workers_with_the_same_hardware_are_one_class() -> None:
    workers = [Worker(name=str(i), hardware=text) for i, text in enumerate((CPU, H100, H100))]
    assert classes(workers) == [
        HardwareClass("NVIDIA H100 80GB HBM3 x1", 80.0, 2),
        HardwareClass(CPU, None, 1),
    ]


def test_the_memory_of_different_gpus_in_one_machine_is_not_one_number() -> None:
    mixed = "1 x NVIDIA L4 (24 GiB), 2 x NVIDIA L40S (48 GiB)"
    assert classes([Worker(name="a", hardware=mixed)]) == [HardwareClass(mixed, None, 1)]


def test_the_memory_of_one_gpu_is_read_from_what_a_worker_says_of_itself() -> None:
    assert [gpu_gib(text) for text in (H100, "8 x A (24 GiB)", CPU)] == [80.0, 24.0, None]
