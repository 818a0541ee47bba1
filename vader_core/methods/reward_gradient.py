"""Reward gradients: sample, score, pull the gradient back through decoder and denoising steps, update.

VADER (arXiv 2407.08737), Algorithm 1, and what came before and after it: `RewardGradient` in
`vader_core.method_spec` names the variants and their papers. Which denoising steps carry gradient is
`step_choice`'s, and what the gradient runs through is `gradient_paths`'.

Letters: B videos, F frames.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from vader_core import frames, seeds
from vader_core.gradient import GradientResult, GradientSeconds, staged_gradient
from vader_core.lines import StageSeconds
from vader_core.method_spec import RewardGradient
from vader_core.methods import gradient_paths, step_choice
from vader_core.methods.base_sample_anchor import anchor_to_base_samples
from vader_core.methods.collecting import training_process
from vader_core.methods.learner import Learner, StepResult
from vader_core.methods.updating import loss_scale, update
from vader_core.methods.videos import batch_of, generators, micro_batches

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """What one micro-batch gave. Its rollouts are gone by then, and their memory with them.

    `anchor_loss` is the weighted loss on the base model's own samples, 0 where they are not asked for.
    """

    prefix_seconds: float
    last_k_seconds: float
    result: GradientResult
    anchor_loss: float
    anchor_seconds: float


class RewardGradientLearner(Learner):
    """Remembers nothing from step to step."""

    @property
    def _method(self) -> RewardGradient:
        assert isinstance(self.spec.method, RewardGradient)
        return self.spec.method

    def check(self) -> None:
        path, is_anchored = self._method.path, self._method.base_sample_weight > 0
        if path != "sampler" or is_anchored:
            revisited = is_anchored or path in {"last_step_redraws", "direct_align"}
            training_process(self.bench, self.spec, revisited=revisited)

    def step(self, number: int) -> StepResult:
        bench, clock = self.bench, self.bench.compute.clock
        began = clock()
        bench.optimiser.forget_gradients()
        parts = [
            self._micro_batch(videos, step=number)
            for videos in micro_batches(self.spec, step=number)
        ]
        update_began = clock()
        updated = update(bench, self.spec, step=number)
        ended = clock()
        results = [part.result for part in parts]
        total_B = torch.cat([result.total_B for result in results])
        anchor_loss = statistics.fmean(part.anchor_loss for part in parts)
        return StepResult(
            loss=statistics.fmean(result.loss for result in results) + anchor_loss,
            total_B=total_B,
            rewards={
                name: float(torch.cat([result.per_reward[name] for result in results]).mean())
                for name in results[0].per_reward
            },
            penalty=statistics.fmean(result.penalty for result in results),
            grad_norm=updated.grad_norm,
            learning_rate=updated.learning_rate,
            reward_queries=len(total_B)
            * self._method.scores_per_video
            * bench.objective.queries_per_training_video,
            seconds=ended - began,
            stage_seconds=StageSeconds(
                prefix=sum(part.prefix_seconds for part in parts),
                last_k=sum(part.last_k_seconds + part.anchor_seconds for part in parts),
                decode=sum(result.seconds.decode for result in results),
                reward=sum(result.seconds.reward for result in results),
                backward=sum(result.seconds.backward for result in results),
                optimiser=ended - update_began,
            ),
            figures={"anchor_loss": anchor_loss} if self._method.base_sample_weight else {},
        )

    def _micro_batch(self, videos: range, *, step: int) -> Part:
        """Adds the gradient of some videos, as their share of the step's."""
        bench, spec, method = self.bench, self.spec, self._method
        batch, prompts = batch_of(bench, spec, step=step, videos=videos)
        steps = step_choice.choose(
            method,
            inference_steps=spec.video.inference_steps or 1,
            generator=seeds.generator(
                spec.seed, step=step, purpose="gradient steps", index=videos[0]
            ),
        )
        chosen = frames.chosen(
            method.frames,
            num_frames=spec.video.num_frames or 1,
            generators=generators(spec, step=step, purpose="frames", videos=videos),
        )
        draws = method.noise_draws if method.path == "last_step_redraws" else 1
        prefix_seconds = last_k_seconds = 0.0
        results: list[GradientResult] = []
        for made in gradient_paths.rollouts(batch, method=method, steps=steps):
            result = staged_gradient(
                made,
                bench.objective.reward,
                prompts,
                chosen=chosen,
                method=method,
                loss_scale=loss_scale(bench) / (method.gradient_accumulation * draws),
            )
            results.append(result)
            prefix_seconds += made.prefix_seconds
            last_k_seconds += made.last_k_seconds
        anchor_began = bench.compute.clock()
        anchor_loss = self._anchor(videos, step=step)
        anchor_seconds = bench.compute.clock() - anchor_began
        _log.info("step %d: videos %d to %d done", step + 1, videos[0], videos[-1])
        return Part(prefix_seconds, last_k_seconds, _averaged(results), anchor_loss, anchor_seconds)

    def _anchor(self, videos: range, *, step: int) -> float:
        """Adds the gradient of the loss on the base model's own samples; that loss, weighted."""
        weight = self._method.base_sample_weight
        if not weight:
            return 0.0
        return anchor_to_base_samples(
            self.bench, self.spec, step=step, videos=videos, weight=weight
        )


def _averaged(draws: Sequence[GradientResult]) -> GradientResult:
    """Several draws of the same videos as one: means, and the seconds of all."""
    return replace(
        draws[0],
        loss=statistics.fmean(draw.loss for draw in draws),
        total_B=torch.stack([draw.total_B for draw in draws]).mean(0),
        per_reward={
            name: torch.stack([draw.per_reward[name] for draw in draws]).mean(0)
            for name in draws[0].per_reward
        },
        penalty=statistics.fmean(draw.penalty for draw in draws),
        seconds=GradientSeconds(
            decode=sum(draw.seconds.decode for draw in draws),
            reward=sum(draw.seconds.reward for draw in draws),
            backward=sum(draw.seconds.backward for draw in draws),
        ),
    )
