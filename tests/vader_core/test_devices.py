from __future__ import annotations

import pytest
import torch

from vader_core import devices
from vader_core.devices import Compute
from vader_core.errors import SpecUnusable

needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_a_cpu_computes_in_float32(precision: str) -> None:
    assert devices.pick("cpu", precision) == Compute(torch.device("cpu"), torch.float32)


def test_latents_masters_and_rewards_are_never_less_precise_than_float32() -> None:
    compute = devices.pick("cpu", "bf16")
    assert (compute.dtype, compute.precise_dtype) == (torch.bfloat16, torch.float32)
    assert compute.is_mixed
    exact = Compute(torch.device("cpu"), torch.float64)
    assert (exact.precise_dtype, exact.is_mixed) == (torch.float64, False)


def test_half_precision_is_refused_on_a_cpu() -> None:
    with pytest.raises(SpecUnusable, match="fp16"):
        devices.pick("cpu", "fp16")


@needs_no_cuda
def test_without_cuda_auto_is_the_cpu_and_cuda_is_refused() -> None:
    assert devices.pick("auto", "auto").device == torch.device("cpu")
    with pytest.raises(SpecUnusable, match="no CUDA device"):
        devices.pick("cuda:0", "auto")


def test_clock_moves_forward() -> None:
    compute = devices.pick("cpu", "fp32")
    assert compute.clock() <= compute.clock()


def test_deterministic_mode_is_switched_on() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        devices.make_deterministic()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(before)
