"""How much GPU memory a job takes: from runs with its very settings, else from the table of the base models.

The table (`vader_core.memory_table`) has one setting for each base model. Other sizes of videos and batches
are taken in proportion; where the method is set up differently, only the weights are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from domain.similar_runs import FEWEST_RUNS
from vader_core.catalogue import Catalogue, find_row
from vader_core.memory_table import TrainingMemory, training_memory
from vader_core.method_spec import RewardGradient
from vader_core.plan import pixels_of_a_video
from vader_core.spec import JobSpec

Basis = Literal["measured", "analytic", "unknown"]
GIB = 2**30
_REWARD_BYTES = 4
"""Rewards compute in float32."""


@dataclass(frozen=True)
class Memory:
    """GiB on one GPU. `peak` is the most at a time, `breakdown` its parts. `at_least` is what it cannot do
    without, whatever the estimate is worth. None: not known. `detail` says what the figures are for."""

    basis: Basis
    peak: float | None
    breakdown: dict[str, float] | None
    at_least: float | None
    detail: str


def memory(spec: JobSpec, catalogue: Catalogue, peaks: Sequence[int]) -> Memory:
    """The memory of the resolved `spec`; `peaks` are what runs with its settings held at the most, in bytes."""
    table = training_memory(spec.base_model.partition("@")[0])
    computed = None if table is None else _computed(spec, catalogue, table)
    if len(peaks) < FEWEST_RUNS:
        return computed or _unknown("The memory of this base model was not computed.")
    peak = max(peaks) / GIB
    return Memory(
        basis="measured",
        peak=peak,
        breakdown=None if computed is None else computed.breakdown,
        at_least=_at_most(peak, None if computed is None else computed.at_least),
        detail=f"The most of {len(peaks)} runs with these settings; any breakdown is computed.",
    )


def _at_most(peak: float, least: float | None) -> float | None:
    """What was computed as needed cannot be more than what was enough."""
    return None if least is None else min(least, peak)


def _unknown(detail: str, at_least: float | None = None) -> Memory:
    return Memory(basis="unknown", peak=None, breakdown=None, at_least=at_least, detail=detail)


def _computed(spec: JobSpec, catalogue: Catalogue, table: TrainingMemory) -> Memory:
    found = table.bytes
    weights = sum(found.base_model.values())
    states = found.adapter + found.gradients + found.optimiser
    learnt = states * spec.adapter.rank / table.adapter_rank
    rewards = _reward_bytes(spec, catalogue)
    encoders = found.loading - weights - found.rewards - found.adapter
    if spec.method.precision not in {"auto", "bf16"}:
        return _unknown(f"Computed for precision {table.precision} only.")
    least = max(weights + learnt, weights + encoders)
    if not _is_tabulated(spec, table):
        how = f"{table.method} with K={table.differentiable_steps}, {table.frames_scored} frames scored"
        detail = f"Computed for {how} and checkpoints of activations only."
        return _unknown(detail, at_least=least / GIB)
    of_table = table.width * table.height * table.num_frames * table.batch_size
    ratio = pixels_of_a_video(spec) * spec.method.batch_size / of_table
    activations = max(found.stages.values()) * ratio
    if ratio == 1:
        stages = [size for name, size in found.stages.items() if name != "reward"]
        least = max(least, weights + learnt + max(stages))
    parts = {
        "base": weights,
        "rewards": rewards,
        "adapter_and_optimizer": learnt,
        "activations": activations,
    }
    training, loading = sum(parts.values()), weights + encoders + rewards
    detail = (
        table.basis if ratio == 1 else f"{table.basis}; activations in proportion, x {ratio:.3g}"
    )
    return Memory(
        basis="analytic",
        peak=max(training, loading) / GIB,
        breakdown={name: size / GIB for name, size in {**parts, "text_encoder": encoders}.items()},
        at_least=least / GIB,
        detail=detail,
    )


def _is_tabulated(spec: JobSpec, table: TrainingMemory) -> bool:
    """Whether the method is set up as the table's was, but for the sizes."""
    method = spec.method
    return (
        isinstance(method, RewardGradient)
        and method.path == "sampler"
        and method.steps_chosen == table.differentiable_steps
        and method.frames.mode == table.frames_scored
        and method.guidance_gradient == table.guidance_gradient
        and method.gradient_checkpointing
        and not method.worst_case_radius
        and not method.base_sample_weight
    )


def _reward_bytes(spec: JobSpec, catalogue: Catalogue) -> float:
    """The weights of all rewards and guards whose size is known."""
    names = {term.reward for term in spec.rewards} | {guard.reward for guard in spec.guards or []}
    rows = [find_row(name, catalogue.rewards) for name in names]
    costs = [row.cost for row in rows if row is not None and row.cost is not None]
    return sum(cost.parameters_millions for cost in costs) * 1e6 * _REWARD_BYTES
