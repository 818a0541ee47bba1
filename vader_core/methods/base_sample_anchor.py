"""An anchor: the adapted model keeps denoising the base model's own videos as well as before.

A denoising loss on samples of the base model, for the prompts and from the noise of the step's own
videos. It stands in for the pretraining loss that reward fine-tuning is mixed with (ReFL, arXiv 2304.05977;
PRFL, arXiv 2511.21541), since a job has no real videos.
"""

from __future__ import annotations

import functools

from vader_core import rollout
from vader_core.methods.noising import Noised, finished
from vader_core.methods.step_choice import drawn_steps
from vader_core.methods.videos import batch_of
from vader_core.spec import JobSpec
from vader_core.workbench import Workbench


def anchor_to_base_samples(
    bench: Workbench, spec: JobSpec, *, step: int, videos: range, weight: float
) -> float:
    """Adds the gradient of `weight` times the denoising loss of one micro-batch, as its share of the step's.

    `videos` are the numbers of the micro-batch's videos; the base model's are made for the same prompts,
    and each is denoised at one step, drawn anew for every micro-batch, of a denoiser that learns. Returns the loss times `weight`, a
    mean over the micro-batch. Raises `SpecUnusable` for a scheduler whose process is not known.
    """
    batch, prompts = batch_of(bench, spec, step=step, videos=videos)
    with bench.adapter.disabled():
        trajectory = rollout.record(batch, end_only=True)
    learning = learning_steps(bench, spec, of=trajectory.process.steps)
    chosen = drawn_steps(spec, learning, step=step, index=videos[0], count=1)
    noised = Noised(
        bench,
        spec,
        finished(trajectory, videos=videos, prompts=prompts),
        step=step,
        steps=chosen,
        purpose="anchor",
    )
    learnt = noised.learn(
        lambda point: weight * point.errors_B(), of=spec.method.videos_per_step, penalty_weight=0.0
    )
    return learnt.loss * spec.method.gradient_accumulation


def learning_steps(bench: Workbench, spec: JobSpec, *, of: int) -> range:
    """The last of a sampler's `of` steps, as many as call no denoiser without an adapter."""
    base = bench.base
    called_in_last = functools.partial(base.family.trained, base.pipeline, spec.video)
    learning = set(called_in_last(differentiable_steps=spec.method.reach(of)))
    count = max(
        last
        for last in range(1, of + 1)
        if learning.issuperset(called_in_last(differentiable_steps=last))
    )
    return range(of - count, of)
