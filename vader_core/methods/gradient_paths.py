"""What the reward's gradient runs through: the sampler's own chain, or a shortcut past most of it.

Every path samples videos whose latents carry a graph over the chosen denoising steps alone; where the
gradient reaches, and what is scored, is what tells them apart.

Departures from the papers:
- `clean_prediction` (ReFL, arXiv 2304.05977) has no pre-training loss beside it unless `base_sample_weight`
  asks for its stand-in; ReFL draws its step from the last 10 of 40, here `step_range` says from which;
- `leap` (after LeapAlign, arXiv 2604.15311) takes one leap, from the chosen step to the end, where the
  paper takes two with a discounted gradient between them; all rollouts weigh alike, however far the leap's
  end lies from the video;
- `last_step_redraws` (DRaFT-LV, arXiv 2309.17400) ends every draw in the prediction of the clean video,
  which is what first-order samplers make of their last step. A sampler of one step starts from noise
  alone: its draws are videos of fresh noise;
- `direct_align` (SRPO, arXiv 2509.06942, and its code) takes one step of the job's own sampling schedule,
  where the code's may be longer, and leaves out the paper's steps from less to more noise, which lower
  the reward. The known noise is that of the rollout, as in the code's online mode. Late steps count for
  less, by the code's discount 3u / (1 + 2u) of the part u that is left to denoise; here u is taken at the
  step's beginning, so that the last step does not count for nothing.

All but `sampler` have to know the scheduler's process (`vader_core.process`), and raise `SpecUnusable`
where they do not.

Letters: R rows of a scheduler's batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from vader_core import rollout
from vader_core.method_spec import RewardGradient
from vader_core.process import Process
from vader_core.rollout import Batch, Rollout, Trajectory
from vader_core.stepping import StepCall, Stepper, rows_of

# What stands for a sample of those videos of the batch: (R, ...), made of their rows of a recorded trajectory.
_Made = Callable[[StepCall, slice], torch.Tensor]
_SRPO_SHIFT = 3.0


def rollouts(batch: Batch, *, method: RewardGradient, steps: frozenset[int]) -> Iterator[Rollout]:
    """Rollouts of the batch's videos with the graph of the method's path over `steps`.

    One, or `noise_draws` of them, whose gradients are to be averaged: each has to be used up before the
    next is asked for, so that only one graph is there at a time. Steps are counted from 0; all paths
    but `sampler` take exactly one. What is random comes from the batch's `step_noise`.
    """
    return _PATHS[method.path](batch, method, steps)


def _sampler(batch: Batch, method: RewardGradient, steps: frozenset[int]) -> Iterator[Rollout]:
    yield rollout.sample(batch, method=method, gradient_steps=steps)


def _clean_prediction(
    batch: Batch, method: RewardGradient, steps: frozenset[int]
) -> Iterator[Rollout]:
    (chosen,) = steps

    def step(call: StepCall) -> torch.Tensor:
        if call.index < chosen:
            return call.own()
        if call.index == chosen:
            return call.process.clean(chosen, call.output, call.sample)
        return call.sample

    yield rollout.sample(
        batch,
        method=method,
        gradient_steps=steps,
        steps_run=frozenset(range(chosen + 1)),
        stepper=lambda _videos: step,
    )


def _leap(batch: Batch, method: RewardGradient, steps: frozenset[int]) -> Iterator[Rollout]:
    (chosen,) = steps

    def stepper(_videos: slice) -> Stepper:
        clean: torch.Tensor | None = None

        def step(call: StepCall) -> torch.Tensor:
            nonlocal clean
            if call.index == chosen:
                clean = call.process.clean(chosen, call.output, call.sample)
            following = call.own().detach()
            if not call.is_last:
                return following
            assert clean is not None, "the chosen step comes before the end"
            # The difference is zero: the value stays that of the sampler, bit for bit.
            return following + (clean - clean.detach())

        return step

    yield rollout.sample(batch, method=method, gradient_steps=steps, stepper=stepper)


def _last_step_redraws(
    batch: Batch, method: RewardGradient, steps: frozenset[int]
) -> Iterator[Rollout]:
    (last,) = steps
    clock = batch.base.compute.clock
    began = clock()
    finished = rollout.record(batch, end_only=True) if last > 0 else None
    recorded_seconds = clock() - began
    for draw in range(method.noise_draws):
        share = batch if finished is not None else replace(batch, noise=_redrawn(batch))
        made = _one_step(
            share,
            method,
            last,
            seen=lambda call, videos: _noised_again(finished, call, videos, last),
            ending=lambda call, _videos: call.process.clean(last, call.output, call.sample),
        )
        yield _after(made, recorded_seconds if draw == 0 else 0.0)


def _redrawn(batch: Batch) -> torch.Tensor:
    """Noise of the batch's shape, each video's from its own generator."""
    _, *shape = batch.noise.shape
    return torch.stack([torch.randn(shape, generator=one) for one in batch.step_noise])


def _noised_again(
    finished: Trajectory | None, call: StepCall, videos: slice, step: int
) -> torch.Tensor:
    assert finished is not None, "no step comes before the first"
    clean = rows_of(finished.at(-1), videos, of=len(finished.latents_BCfHW))
    return finished.process.noised(step, clean, call.normal())


def _direct_align(batch: Batch, method: RewardGradient, steps: frozenset[int]) -> Iterator[Rollout]:
    (chosen,) = steps
    clock = batch.base.compute.clock
    began = clock()
    finished = rollout.record(batch)
    recorded_seconds = clock() - began
    process, clean = finished.process, finished.at(-1)
    noise = _implied_noise(process, clean, finished.at(0))
    of_videos = functools.partial(rows_of, of=len(batch.conditions))

    def recovered(call: StepCall, videos: slice) -> torch.Tensor:
        following = process.step(chosen, call.output, call.sample)
        alpha, sigma = float(process.alphas[chosen + 1]), float(process.sigmas[chosen + 1])
        video = (following - sigma * of_videos(noise, videos)) / alpha
        return _with_gradient_times(srpo_discount(chosen, process.steps), video)

    made = _one_step(
        batch,
        method,
        chosen,
        seen=lambda _call, videos: process.noised(
            chosen, of_videos(clean, videos), of_videos(noise, videos)
        ),
        ending=recovered,
    )
    yield _after(made, recorded_seconds)


def srpo_discount(step: int, inference_steps: int) -> float:
    """How much Direct-Align lets a step count: 1 for the first, less for the later ones."""
    left = (inference_steps - step) / inference_steps
    return _SRPO_SHIFT * left / (1 + (_SRPO_SHIFT - 1) * left)


def _implied_noise(process: Process, clean: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """The noise (R, ...) of which and of `clean` the first sample is made."""
    return (first - float(process.alphas[0]) * clean) / float(process.sigmas[0])


def _with_gradient_times(factor: float, value: torch.Tensor) -> torch.Tensor:
    """`value` itself, with `factor` times its gradient."""
    return value.detach() + factor * (value - value.detach())


def _one_step(
    batch: Batch, method: RewardGradient, chosen: int, *, seen: _Made, ending: _Made
) -> Rollout:
    """Runs the denoiser at the chosen step alone: on the sample `seen`, to make `ending` of it.

    The first step sees what the pipeline makes of the batch's noise, whatever `seen` says.
    """

    def stepper(videos: slice) -> Stepper:
        def step(call: StepCall) -> torch.Tensor:
            if call.index == chosen:
                return ending(call, videos)
            return seen(call, videos).to(call.sample) if call.index == chosen - 1 else call.sample

        return step

    only = frozenset({chosen})
    return rollout.sample(
        batch, method=method, gradient_steps=only, steps_run=only, stepper=stepper
    )


def _after(made: Rollout, seconds: float) -> Rollout:
    """The rollout, with the time of what went before it."""
    return replace(made, prefix_seconds=made.prefix_seconds + seconds)


_PATHS: dict[str, Callable[[Batch, RewardGradient, frozenset[int]], Iterator[Rollout]]] = {
    "sampler": _sampler,
    "clean_prediction": _clean_prediction,
    "leap": _leap,
    "last_step_redraws": _last_step_redraws,
    "direct_align": _direct_align,
}
