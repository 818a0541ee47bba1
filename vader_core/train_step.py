"""One optimiser step: sample, score, pull the gradient back, update.

Letters: B videos, F frames.
"""

from __future__ import annotations

import logging
import math
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vader_core import frames, rollout, seeds
from vader_core.errors import GradientNotFinite
from vader_core.evaluation import noise
from vader_core.gradient import GradientResult, staged_gradient
from vader_core.lines import StageSeconds
from vader_core.schedule import learning_rate
from vader_core.spec import JobSpec, Prompt
from vader_core.workbench import Workbench

# fp16 has no numbers below 6e-8: gradients are computed this much larger. A power of two is exact.
_FP16_SCALE = 1024.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepResult:
    """What one step did; scores are over all of the step's videos."""

    loss: float
    total_B: torch.Tensor
    rewards: dict[str, float]
    penalty: float
    grad_norm: float
    learning_rate: float
    seconds: float
    stage_seconds: StageSeconds


@dataclass(frozen=True)
class Part:
    """What one micro-batch gave. The rollout itself is gone by then, and its memory with it."""

    prefix_seconds: float
    last_k_seconds: float
    result: GradientResult


def train_step(bench: Workbench, spec: JobSpec, *, step: int) -> StepResult:
    """Takes step `step` (from 0). Raises `RewardNotFinite` and `GradientNotFinite` before the adapter
    is touched."""
    method, clock = spec.method, bench.compute.clock
    scale = _FP16_SCALE if bench.compute.dtype == torch.float16 else 1.0
    began = clock()
    bench.optimiser.forget_gradients()
    parts = [
        _micro_batch(bench, spec, step=step, videos=videos, loss_scale=scale)
        for videos in micro_batches(spec, step=step)
    ]
    update_began = clock()
    grad_norm = _clip(bench, scale=scale, max_norm=method.max_grad_norm, step=step)
    rate = learning_rate(method, step=step, steps_total=spec.budget.max_steps)
    bench.optimiser.update(learning_rate=rate)
    ended = clock()
    results = [part.result for part in parts]
    return StepResult(
        loss=sum(result.loss for result in results) / len(results),
        total_B=torch.cat([result.total_B for result in results]),
        rewards={
            name: float(torch.cat([result.per_reward[name] for result in results]).mean())
            for name in results[0].per_reward
        },
        penalty=sum(result.penalty for result in results) / len(results),
        grad_norm=grad_norm,
        learning_rate=rate,
        seconds=ended - began,
        stage_seconds=StageSeconds(
            prefix=sum(part.prefix_seconds for part in parts),
            last_k=sum(part.last_k_seconds for part in parts),
            decode=sum(result.seconds.decode for result in results),
            reward=sum(result.seconds.reward for result in results),
            backward=sum(result.seconds.backward for result in results),
            optimiser=ended - update_began,
        ),
    )


def micro_batches(spec: JobSpec, *, step: int) -> list[range]:
    """The numbers of the videos of step `step` (from 0), counted through the whole run."""
    size, count = spec.method.batch_size, spec.method.gradient_accumulation
    first = step * size * count
    return [range(first + i * size, first + (i + 1) * size) for i in range(count)]


def _micro_batch(
    bench: Workbench, spec: JobSpec, *, step: int, videos: range, loss_scale: float
) -> Part:
    """Adds the gradient of some videos, as their share of the step's."""

    def generators(purpose: str) -> list[torch.Generator]:
        return [
            seeds.generator(spec.seed, step=step, purpose=purpose, index=video) for video in videos
        ]

    prompts = training_prompts(spec, bench.prompts, videos)
    made = rollout.sample(
        bench.base,
        bench.base.conditions(prompts, spec.video),
        noise(bench.base, spec, generators("latents")),
        spec.video,
        method=spec.method,
        step_noise=generators("steps"),
    )
    chosen_BF = frames.choose(
        spec.method.frames,
        num_frames=spec.video.num_frames or 1,
        generators=generators("frames"),
    )
    result = staged_gradient(
        made,
        bench.objective.reward,
        prompts,
        frame_indices_BF=chosen_BF,
        method=spec.method,
        loss_scale=loss_scale / spec.method.gradient_accumulation,
    )
    _log.info("step %d: videos %d to %d done", step + 1, videos[0], videos[-1])
    return Part(made.prefix_seconds, made.last_k_seconds, result)


def training_prompts(spec: JobSpec, prompts: Sequence[Prompt], videos: range) -> list[Prompt]:
    """The prompts of videos, by their numbers in the run."""
    count = len(prompts)
    return [prompts[seeds.prompt_of_video(spec.seed, video=v, prompts=count)] for v in videos]


def _clip(bench: Workbench, *, scale: float, max_norm: float, step: int) -> float:
    """Limits the norm of all gradients together; what it was before, in the loss's own scale."""
    gradients = bench.optimiser.gradients()
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


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory used so far: of the GPU where there is one, else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
