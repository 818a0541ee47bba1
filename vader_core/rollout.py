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
from typing import Any

import torch

from vader_core.base_models import BaseModel, PromptEmbeds
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
    embeds: PromptEmbeds,
    noise_latents_BCfHW: torch.Tensor,
    video: Video,
    *,
    method: RewardGradient,
    step_noise: Sequence[torch.Generator],
) -> Rollout:
    """Samples B videos of the resolved settings `video`, differentiable in the adapter's weights.

    `noise_latents_BCfHW` is standard normal, of `base.latents_shape`. `step_noise` is one CPU
    generator per video, used by schedulers that add noise and by the adapter's dropout.
    """
    both = method.guidance_gradient == "both"
    settings = GateSettings(
        guided=_is_guided(video),
        differentiable_steps=method.differentiable_steps,
        branches_with_gradient=frozenset(("cond", "uncond") if both else ("cond",)),
        checkpointing=method.gradient_checkpointing,
        measure_distance=method.prediction_penalty > 0,
    )
    clock = base.compute.clock
    began = clock()
    with (
        torch.enable_grad(),
        _dropout_seed(base, step_noise),
        gated(base, settings, step_noise) as gate,
    ):
        latents_BCfHW = _run(base, embeds, noise_latents_BCfHW, video)
    ended = clock()
    tail_began = gate.tail_began_at or ended
    return Rollout(
        base=base,
        latents_BCfHW=latents_BCfHW,
        penalty=gate.distance,
        prefix_seconds=tail_began - began,
        last_k_seconds=ended - tail_began,
    )


def generate(
    base: BaseModel,
    embeds: PromptEmbeds,
    noise_latents_BCfHW: torch.Tensor,
    video: Video,
    *,
    step_noise: Sequence[torch.Generator],
) -> torch.Tensor:
    """The latents (B, C, f, H, W) that `sample` gives with the same arguments, without any graph."""
    settings = GateSettings(
        guided=_is_guided(video),
        differentiable_steps=0,
        branches_with_gradient=frozenset(),
        checkpointing=False,
        measure_distance=False,
    )
    with torch.no_grad(), gated(base, settings, step_noise):
        return _run(base, embeds, noise_latents_BCfHW, video)


def _run(
    base: BaseModel, embeds: PromptEmbeds, noise_latents_BCfHW: torch.Tensor, video: Video
) -> torch.Tensor:
    expected = base.latents_shape(video, batch=len(embeds.cond_BLD))
    if tuple(noise_latents_BCfHW.shape) != expected:
        raise ValueError(f"The noise has shape {tuple(noise_latents_BCfHW.shape)}, not {expected}.")
    pipeline_class: Any = type(base.pipeline)
    undecorated = pipeline_class.__call__.__wrapped__
    (latents_BCfHW,) = undecorated(
        base.pipeline,
        prompt_embeds=embeds.cond_BLD,
        negative_prompt_embeds=embeds.uncond_BLD,
        latents=noise_latents_BCfHW.to(base.compute.device, base.compute.precise_dtype),
        width=video.width,
        height=video.height,
        num_frames=video.num_frames,
        num_inference_steps=video.inference_steps,
        guidance_scale=video.guidance_scale,
        output_type="latent",
        return_dict=False,
    )
    result: torch.Tensor = latents_BCfHW
    return result


def _is_guided(video: Video) -> bool:
    # Both pipelines take guidance to be off at 1, and then make no unconditional call.
    return video.guidance_scale is not None and video.guidance_scale > 1


@contextmanager
def _dropout_seed(base: BaseModel, step_noise: Sequence[torch.Generator]) -> Iterator[None]:
    """Makes the adapter's dropout masks depend on `step_noise` alone."""
    if not dropouts(base.denoiser):
        yield
        return
    device = base.compute.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=step_noise[0])))
        yield
