"""Sampling videos with gradient through the last K denoising steps.

VADER, Algorithm 1 (arXiv 2407.08737): for t = T..1 predict, cut the prediction's gradient while
t > K, step the scheduler; the reward's gradient then runs through the last K predictions, chained
through the latents between them.

Deviations:
- the sampler is the pipeline's own `__call__`, without its `no_grad` decorator, and a gate before the
  denoiser does the cutting (`vader_core.gate`). Cut predictions are computed without a graph at all;
- the unconditional branch of guidance carries gradient only where `guidance_gradient` is "both". The
  paper's code has it so; "conditional" halves the memory and the backward time of a step;
- an optional penalty: the mean squared distance between the predictions with and without the adapter
  at the differentiable steps, over the branches that carry gradient.

Letters: B videos, C channels, f latent frames, H and W latent sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from vader_core.base_models import BaseModel
from vader_core.families.family import Conditions
from vader_core.gate import GateSettings, gated
from vader_core.lora_layers import dropouts
from vader_core.spec import RewardGradient, Video


@dataclass(frozen=True)
class Rollout:
    """Sampled latents, with a graph over the last K steps.

    `penalty` is the scalar distance to the base model's predictions, None where it is not asked for.
    Seconds are those of the steps before and within the last K.
    """

    base: BaseModel
    latents_BCfHW: torch.Tensor
    penalty: torch.Tensor | None
    prefix_seconds: float
    last_k_seconds: float


def sample(
    base: BaseModel,
    conditions: Conditions,
    noise: torch.Tensor,
    video: Video,
    *,
    method: RewardGradient,
    step_noise: Sequence[torch.Generator],
) -> Rollout:
    """Samples B videos of the resolved settings `video`, differentiable in the adapter's weights.

    `noise` is standard normal, of `base.latents_shape`. `step_noise` is one CPU generator per video,
    used by schedulers that add noise and by the adapter's dropout.
    """
    both = method.guidance_gradient == "both"
    settings = GateSettings(
        videos=1 if base.family.one_video_per_call else len(conditions),
        calls=base.family.calls(base.pipeline, video),
        differentiable_steps=method.differentiable_steps,
        branches_with_gradient=frozenset(("cond", "uncond") if both else ("cond",)),
        checkpointing=method.gradient_checkpointing,
        measure_distance=method.prediction_penalty > 0,
    )
    with torch.enable_grad(), _dropout_seed(base, step_noise):
        runs = [
            _run(base, share, video, settings)
            for share in _shares(base, conditions, noise, step_noise)
        ]
    distances = [run.distance for run in runs if run.distance is not None]
    return Rollout(
        base=base,
        latents_BCfHW=torch.cat([run.latents_BCfHW for run in runs]),
        penalty=torch.stack(distances).mean() if distances else None,
        prefix_seconds=sum(run.prefix_seconds for run in runs),
        last_k_seconds=sum(run.last_k_seconds for run in runs),
    )


def generate(
    base: BaseModel,
    conditions: Conditions,
    noise: torch.Tensor,
    video: Video,
    *,
    step_noise: Sequence[torch.Generator],
) -> torch.Tensor:
    """The latents (B, C, f, H, W) that `sample` gives with the same arguments, without any graph."""
    settings = GateSettings(
        videos=1 if base.family.one_video_per_call else len(conditions),
        calls=base.family.calls(base.pipeline, video),
        differentiable_steps=0,
        branches_with_gradient=frozenset(),
        checkpointing=False,
        measure_distance=False,
    )
    shares = _shares(base, conditions, noise, step_noise)
    with torch.no_grad():
        return torch.cat([_run(base, share, video, settings).latents_BCfHW for share in shares])


@dataclass(frozen=True)
class _Share:
    """What goes into one call of the pipeline."""

    conditions: Conditions
    noise: torch.Tensor
    step_noise: Sequence[torch.Generator]


def _shares(
    base: BaseModel,
    conditions: Conditions,
    noise: torch.Tensor,
    step_noise: Sequence[torch.Generator],
) -> list[_Share]:
    if not base.family.one_video_per_call:
        return [_Share(conditions, noise, step_noise)]
    return [
        _Share(one, noise[index : index + 1], step_noise[index : index + 1])
        for index, one in enumerate(conditions.each())
    ]


@dataclass(frozen=True)
class _Run:
    """What one call of the pipeline gave."""

    latents_BCfHW: torch.Tensor
    distance: torch.Tensor | None
    prefix_seconds: float
    last_k_seconds: float


def _run(base: BaseModel, share: _Share, video: Video, settings: GateSettings) -> _Run:
    clock = base.compute.clock
    began = clock()
    with gated(base, settings, share.step_noise) as gate:
        latents_BCfHW = base.run(share.conditions, share.noise, video)
    ended = clock()
    tail_began = gate.tail_began_at or ended
    return _Run(latents_BCfHW, gate.distance, tail_began - began, ended - tail_began)


@contextmanager
def _dropout_seed(base: BaseModel, step_noise: Sequence[torch.Generator]) -> Iterator[None]:
    """Makes the adapter's dropout masks depend on `step_noise` alone."""
    if not any(dropouts(denoiser) for denoiser in base.denoisers.values()):
        yield
        return
    device = base.compute.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=step_noise[0])))
        yield
