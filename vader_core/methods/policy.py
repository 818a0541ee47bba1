"""Denoising as a policy: every noisy step is an action, whose probability follows the video's advantage.

DDPO with importance sampling (Black et al., arXiv 2305.13301, equation 3 with PPO's clipping) and
Flow-GRPO (Liu et al., arXiv 2505.05470, equation 4) share all of this: a step samples and scores videos with
a stochastic sampler, then goes over them `updates_per_step` times; every time each chosen step of each
video is denoised once more, with gradient, and max(-A r, -A clip(r)) is lowered, r the ratio of the
densities of what the sampler drew under the policy now and then, A the advantage.

Deviations:
- the policy then is what the first pass computes, with the same weights, rather than what was noted
  while sampling: the first ratios are exactly 1 whatever precision and batch shape do to a prediction;
- the adapter's dropout masks are the same in every pass, and absent while sampling;
- the steps learnt from are drawn anew for every micro-batch; the loss is the mean over them. Deterministic
  steps (`vader_core.methods.stochastic_sampler`) are never among them, and the reward's gradient does not
  run through them: they count as part of the world that the policy acts on;
- the divergence from the base model is that of the transitions, as in Flow-GRPO, at the steps learnt from.

Letters: B videos of a micro-batch, b of them that a visit shows, R rows of a scheduler's batch.
"""

from __future__ import annotations

import dataclasses
import logging
from abc import abstractmethod
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch

from vader_core import rollout
from vader_core.lines import StageSeconds
from vader_core.method_spec import Ddpo, Grpo
from vader_core.methods.collecting import Collected, Sampled, collect, training_process
from vader_core.methods.learner import Learner, StepResult
from vader_core.methods.step_choice import drawn_steps
from vader_core.methods.stochastic_sampler import StochasticSampler, Transition
from vader_core.methods.updating import Update, pull_back, undone_on_failure, update
from vader_core.methods.videos import generators
from vader_core.rollout import Batch, Visit
from vader_core.stepping import rows_of

_log = logging.getLogger(__name__)


def clipped_loss_B(
    log_prob_B: torch.Tensor,
    old_log_prob_B: torch.Tensor,
    advantage_B: torch.Tensor,
    *,
    clip_range: float,
) -> torch.Tensor:
    """PPO's loss by video (Schulman et al., arXiv 1707.06347, equation 7): to be lowered."""
    ratio_B = (log_prob_B - old_log_prob_B).exp()
    clipped_B = ratio_B.clamp(1 - clip_range, 1 + clip_range)
    return torch.maximum(-advantage_B * ratio_B, -advantage_B * clipped_B)


@dataclass(frozen=True)
class Lesson:
    """One micro-batch and the steps of it that are learnt from.

    By step and first video of a visit: `base_means`, where the base model would have gone, on the CPU, empty
    without a divergence; `old_log_probs` (b,), filled by the first pass.
    """

    part: Sampled
    advantage_B: torch.Tensor
    steps: list[int]
    base_means: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)
    old_log_probs: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[int, torch.Tensor]:
        """The samples (R, ...) that went into the steps."""
        return {step: self.part.trajectory.samples[step] for step in self.steps}

    def following(self, visit: Visit) -> torch.Tensor:
        """What the sampler drew after the sample of `visit`, in its shape."""
        following = self.part.trajectory.samples[visit.index + 1]
        return rows_of(following, visit.videos, of=len(self.part.videos)).to(visit.sample.device)


class PolicyLearner(Learner):
    """Samples with `sampler`, learns by `advantages`; `kl_weight` weighs the divergence from the base model."""

    kl_weight = 0.0

    @property
    @abstractmethod
    def sampler(self) -> StochasticSampler:
        """What training videos are sampled with."""

    @abstractmethod
    def advantages(self, collected: Collected) -> torch.Tensor:
        """One for each of the step's videos, in their order."""

    def remember(self, collected: Collected) -> None:
        """Takes note of the rewards of a step that was learnt from: one that fails is forgotten."""

    @property
    def _method(self) -> Ddpo | Grpo:
        assert isinstance(self.spec.method, Ddpo | Grpo)
        return self.spec.method

    def check(self) -> None:
        self.sampler.noisy_steps(training_process(self.bench, self.spec))

    def step(self, number: int) -> StepResult:
        bench, clock = self.bench, self.bench.compute.clock
        began = clock()
        collected = collect(bench, self.spec, step=number, sampler=self.sampler)
        most = self._method.advantage_clip
        advantage_B = self.advantages(collected).clamp(-most, most)
        visits_began = clock()
        lessons = self._lessons(collected, advantage_B, step=number)
        visiting = clock() - visits_began
        tally: dict[str, float] = defaultdict(float)
        updates: list[Update] = []
        passes = self._method.updates_per_step
        with undone_on_failure(bench) if passes > 1 else nullcontext():
            for _ in range(passes):
                pass_began = clock()
                bench.optimiser.forget_gradients()
                for lesson in lessons:
                    self._learn(lesson, tally, step=number)
                visiting += clock() - pass_began
                updates.append(update(bench, self.spec, step=number))
        self.remember(collected)
        ended = clock()
        means = {name: total / len(updates) for name, total in tally.items()}
        return StepResult(
            loss=means.pop("loss"),
            total_B=collected.total_B,
            rewards=collected.rewards(),
            penalty=means.pop("penalty"),
            grad_norm=sum(one.grad_norm for one in updates) / len(updates),
            learning_rate=updates[-1].learning_rate,
            reward_queries=len(advantage_B) * bench.objective.queries_per_training_video,
            seconds=ended - began,
            stage_seconds=StageSeconds(
                prefix=collected.sampling_seconds,
                last_k=visiting,
                decode=collected.decode_seconds,
                reward=collected.reward_seconds,
                backward=0.0,
                optimiser=ended - visits_began - visiting,
            ),
            figures={**means, "advantage_std": float(advantage_B.std(correction=0))},
        )

    def _lessons(
        self, collected: Collected, advantage_B: torch.Tensor, *, step: int
    ) -> list[Lesson]:
        parts = collected.parts
        shares = torch.split(advantage_B, [len(part.videos) for part in parts])
        lessons = [
            Lesson(part, share_B, self._steps(part, step=step))
            for part, share_B in zip(parts, shares, strict=True)
        ]
        if self.kl_weight > 0:
            for lesson in lessons:
                self._look_at_base(lesson, step=step)
        return lessons

    def _steps(self, part: Sampled, *, step: int) -> list[int]:
        """The denoising steps of one micro-batch that are learnt from."""
        return drawn_steps(
            self.spec,
            self.sampler.noisy_steps(part.trajectory.process),
            step=step,
            index=part.videos[0],
            count=self._method.train_steps,
        )

    def _batch(self, part: Sampled, *, step: int) -> Batch:
        """What a visit starts from, its random numbers fresh: they are the same at every visit."""
        drawn = generators(self.spec, step=step, purpose="visits", videos=part.videos)
        return dataclasses.replace(part.batch, step_noise=drawn)

    def _look_at_base(self, lesson: Lesson, *, step: int) -> None:
        """Fills the lesson's `base_means`."""

        def keep(visit: Visit) -> None:
            lesson.base_means[visit.index, visit.videos.start] = self._transition(visit).mean.cpu()

        with self.bench.adapter.disabled():
            rollout.visit(
                self._batch(lesson.part, step=step),
                inputs=lesson.inputs,
                on_output=keep,
                method=self._method,
                gradient=False,
                conditional_only=False,
            )

    def _learn(self, lesson: Lesson, tally: dict[str, float], *, step: int) -> None:
        """Adds one micro-batch's gradient, as its share of the step's."""

        def take(visit: Visit) -> None:
            count = visit.videos.stop - visit.videos.start
            share = count / (self._method.videos_per_step * len(lesson.steps))
            terms = self._terms(lesson, visit)
            pull_back(self.bench, share * terms["loss"])
            for name, value in terms.items():
                tally[name] += share * float(value.detach())

        rollout.visit(
            self._batch(lesson.part, step=step),
            inputs=lesson.inputs,
            on_output=take,
            method=self._method,
            gradient=True,
            conditional_only=False,
        )
        videos = lesson.part.videos
        _log.info("step %d: videos %d to %d learnt from", step + 1, videos[0], videos[-1])

    def _terms(self, lesson: Lesson, visit: Visit) -> dict[str, torch.Tensor]:
        """The loss of one visited step, the mean over its videos, and what it is made of."""
        method, videos = self._method, visit.videos
        key, count = (visit.index, videos.start), videos.stop - videos.start
        transition = self._transition(visit)
        log_prob_b = transition.log_prob_B(lesson.following(visit), videos=count)
        # The first pass is under the policy that sampled.
        old_b = lesson.old_log_probs.setdefault(key, log_prob_b.detach())
        advantage_b = lesson.advantage_B[videos].to(log_prob_b)
        loss = clipped_loss_B(log_prob_b, old_b, advantage_b, clip_range=method.clip_range).mean()
        away_b = (log_prob_b - old_b).detach()
        terms = {
            "clip_fraction": (away_b.expm1().abs() > method.clip_range).float().mean(),
            "approx_kl": 0.5 * away_b.square().mean(),
            "penalty": torch.zeros(()) if visit.distance is None else visit.distance,
        }
        if visit.distance is not None:
            loss = loss + method.prediction_penalty * visit.distance
        if self.kl_weight > 0:
            base_mean = lesson.base_means[key].to(transition.mean.device)
            terms["kl"] = transition.kl_B(base_mean, videos=count).mean()
            loss = loss + self.kl_weight * terms["kl"]
        return {"loss": loss, **terms}

    def _transition(self, visit: Visit) -> Transition:
        return self.sampler.transition(visit.process, visit.index, visit.output, visit.sample)
