"""The optimiser's update at the end of a batch of gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from vader_core.errors import GradientNotFinite
from vader_core.schedule import learning_rate
from vader_core.spec import JobSpec
from vader_core.workbench import Workbench

# fp16 has no numbers below 6e-8: gradients are computed this much larger. A power of two is exact.
_FP16_SCALE = 1024.0


@dataclass(frozen=True)
class Update:
    """One optimiser update: the norm of all gradients before it was limited, and the rate."""

    grad_norm: float
    learning_rate: float


def loss_scale(bench: Workbench) -> float:
    """What losses must be multiplied by before their gradients are taken; `update` divides by it."""
    return _FP16_SCALE if bench.compute.dtype == torch.float16 else 1.0


def pull_back(bench: Workbench, loss: torch.Tensor) -> None:
    """Adds the gradient of `loss`, a scalar in its own scale.

    Where a pipeline has a denoiser without an adapter, nothing can be learnt at its steps.
    """
    if loss.requires_grad:
        (loss_scale(bench) * loss).backward()  # type: ignore[no-untyped-call]


@contextmanager
def undone_on_failure(bench: Workbench) -> Iterator[None]:
    """Whatever is raised inside, adapter and optimiser are then what they were before.

    For steps of several updates: a failing run saves what its last finished step left.
    """
    adapter, optimiser = bench.adapter.state_dict(), bench.optimiser.state_dict()
    try:
        yield
    except BaseException:
        bench.optimiser.forget_gradients()
        bench.adapter.load_state_dict(adapter)
        bench.optimiser.load_state_dict(optimiser)
        raise


def update(bench: Workbench, spec: JobSpec, *, step: int) -> Update:
    """Updates the adapter by the gradients that are there, their norm limited.

    Raises `GradientNotFinite` before the adapter is touched.
    """
    norm = _clip(bench, max_norm=spec.method.max_grad_norm, step=step)
    rate = learning_rate(spec.method, step=step, steps_total=spec.budget.max_steps)
    bench.optimiser.update(learning_rate=rate)
    return Update(norm, rate)


def _clip(bench: Workbench, *, max_norm: float, step: int) -> float:
    """Limits the norm of all gradients together; what it was before, in the loss's own scale."""
    gradients, scale = bench.optimiser.gradients(), loss_scale(bench)
    for gradient in gradients:
        gradient /= scale
    norm = float(torch.nn.utils.get_total_norm(gradients))
    if not math.isfinite(norm):
        raise GradientNotFinite(
            f"The gradient of step {step + 1} is not finite.",
            hint="Try precision fp32 or bf16, a lower learning_rate or a smaller guidance_scale.",
        )
    for gradient in gradients:
        gradient *= min(1.0, max_norm / (norm + 1e-12))
    return norm
