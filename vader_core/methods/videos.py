"""Which videos a training step makes: their numbers, prompts, noise and random numbers.

Videos are counted through the whole run. `group_size` videos in a row are made for the same prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vader_core import rollout, seeds
from vader_core.evaluation import noise
from vader_core.method_spec import OnlineSettings
from vader_core.spec import JobSpec, Prompt, Video
from vader_core.workbench import Workbench


def micro_batches(spec: JobSpec, *, step: int) -> list[range]:
    """The numbers of the videos of step `step` (from 0), micro-batch by micro-batch."""
    size, count = spec.method.batch_size, spec.method.gradient_accumulation
    first = step * size * count
    return [range(first + i * size, first + (i + 1) * size) for i in range(count)]


def training_prompts(spec: JobSpec, prompts: Sequence[Prompt], videos: range) -> list[Prompt]:
    """The prompts of videos, by their numbers in the run."""
    method, count = spec.method, len(prompts)
    group = method.group_size if isinstance(method, OnlineSettings) else 1
    return [
        prompts[seeds.prompt_of_video(spec.seed, video=video // group, prompts=count)]
        for video in videos
    ]


def generators(spec: JobSpec, *, step: int, purpose: str, videos: range) -> list[torch.Generator]:
    """One CPU generator per video, all of them for the one purpose."""
    return [seeds.generator(spec.seed, step=step, purpose=purpose, index=video) for video in videos]


def batch_of(
    bench: Workbench, spec: JobSpec, *, step: int, videos: range, video: Video | None = None
) -> tuple[rollout.Batch, list[Prompt]]:
    """What these videos are sampled from, and their prompts. `video` takes the place of the spec's own."""
    prompts = training_prompts(spec, bench.prompts, videos)
    latents = generators(spec, step=step, purpose="latents", videos=videos)
    batch = rollout.Batch(
        bench.base,
        bench.base.conditions(prompts, spec.video),
        noise(bench.base, spec.video, latents),
        video or spec.video,
        generators(spec, step=step, purpose="steps", videos=videos),
    )
    return batch, prompts
