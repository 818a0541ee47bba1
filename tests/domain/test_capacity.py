from __future__ import annotations

import pytest

from domain import capacity
from domain.capacity import Need
from domain.errors import DoesNotFitGpu
from domain.hardware_classes import classes
from domain.service_tables import Worker

L4, L40S, H200 = (
    "1 x NVIDIA L4 (24 GiB)",
    "2 x NVIDIA L40S (48 GiB)",
    "1 x NVIDIA H200 (141 GiB)",
)
CPU = "CPU, 2 cores, 16 GiB"
MIXED = "1 x NVIDIA L4 (24 GiB), 1 x NVIDIA L40S (48 GiB)"


def workers(*hardware: str) -> list[Worker]:
    return [Worker(name=text, hardware=text) for text in hardware]


TAKEN: list[tuple[Need, list[str], list[str]]] = [
    (Need(), [L4, H200, CPU], [L4, H200, CPU]),
    (Need(least=20.0), [L4, H200], [L4, H200]),
    (Need(least=24.5), [L4, L40S, H200], [L40S, H200]),
    # What is certain binds, what is estimated only says who comes first.
    (Need(least=20.0, peak=100.0), [L4, L40S, H200], [H200]),
    (Need(least=20.0, peak=100.0), [L4, L40S], [L40S]),
    (Need(least=200.0, peak=300.0), [L4, L40S, H200], []),
    # Nobody knows what a CPU or GPUs of several kinds can hold.
    (Need(least=200.0), [L4, CPU, MIXED], [CPU, MIXED]),
    (Need(peak=100.0), [L4, CPU], [L4, CPU]),
    # Without a GPU a worker takes what none of the GPUs holds.
    (Need(least=20.0, peak=100.0), [L4, CPU, MIXED], [L4, MIXED]),
    (Need(least=20.0), [CPU, MIXED], [CPU, MIXED]),
    (Need(least=20.0), [], []),
]


@pytest.mark.parametrize(("need", "living", "expected"), TAKEN)
def test_a_job_is_taken_where_it_may_fit(
    need: Need, living: list[str], expected: list[str]
) -> None:
    assert [worker.name for worker in capacity.takers(need, workers(*living))] == expected


EXPECTED: list[tuple[Need, list[str], str | None]] = [
    (Need(10.0, 20.0), [H200, H200, L40S, L4], "NVIDIA L4 x1"),
    (Need(10.0, 30.0), [H200, H200, L4, L40S], "NVIDIA L40S x2"),
    (Need(10.0, 30.0), [CPU, L40S], "NVIDIA L40S x2"),
    # Its estimate fits none: the largest tries.
    (Need(10.0, 300.0), [L4, H200], "NVIDIA H200 x1"),
    (Need(200.0, 300.0), [L4, H200], None),
    (Need(), [CPU], CPU),
    (Need(), [L4, H200], None),
    (Need(30.0), [L4, L40S, H200], None),
    (Need(100.0), [L4, L40S, H200], "NVIDIA H200 x1"),
]


@pytest.mark.parametrize(("need", "living", "expected"), EXPECTED)
def test_the_smallest_class_that_fits_is_expected_to_run_it(
    need: Need, living: list[str], expected: str | None
) -> None:
    found = capacity.expected_class(need, classes(workers(*living)))
    assert (found and found.name) == expected


def test_the_largest_gpu_is_that_of_the_known() -> None:
    assert capacity.largest_gib(workers(CPU, L4, MIXED)) == 24.0
    assert capacity.largest_gib(workers(CPU)) is None


def test_what_a_job_may_need_is_known_where_all_memory_is() -> None:
    assert capacity.most_gib(workers(L4, H200)) == 141.0
    assert capacity.most_gib(workers(L4, CPU)) is None
    assert capacity.most_gib([]) is None


def test_a_job_that_none_can_hold_is_refused_with_what_there_is() -> None:
    with pytest.raises(DoesNotFitGpu) as refused:
        capacity.refuse_too_large(Need(least=142.0), workers(L4, H200))
    assert refused.value.extra["needs_gib"] == 142.0
    assert "at least 142.0 GiB" in refused.value.detail
    for living in ([], [H200], [L4, CPU], [L4, MIXED]):
        capacity.refuse_too_large(Need(least=100.0), workers(*living))
