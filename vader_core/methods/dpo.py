"""Diffusion-DPO: preference of the better of two videos, by how well the denoiser denoises each.

Wallace et al., arXiv 2311.12908, equation 14; for flow matching Flow-DPO (Liu et al., arXiv 2501.13918) with
the constant beta that it found best. With d the squared error of the adapted model minus that of the base
model, at the same noise and step for winner w and loser l, the loss is
    -log sigmoid(-beta / 2 * (d_w - d_l)).

Deviations:
- pairs are not a fixed data set that people ranked: they are sampled during training, and a group's best
  and worst video by the reward make the pair;
- an error is the mean over a video's numbers and not their sum, as in the paper's published code, and
  carries no weight by noise level, as there;
- winner and loser need not be in one graph: the errors are found first, without gradient and without the
  adapter's dropout, and each video's error is then pulled with the weight that the loss gives it. That
  is the same gradient for one more forward pass;
- videos are sampled with the guidance of `video.guidance_scale`, the conditional prediction learns;
- see `noising` for the noise levels.

Letters: P pairs, K visited steps, B videos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch.nn.functional import softplus

from vader_core.method_spec import Dpo
from vader_core.methods.collecting import Collected
from vader_core.methods.noising import Finished, Learnt, Noised, Point
from vader_core.methods.regression import Group, Lesson, RegressionLearner, in_batches

# The better and the worse video of one prompt.
Pair = tuple[Finished, Finished]


def preference_loss(margin: torch.Tensor, *, beta: float) -> torch.Tensor:
    """The loss for `margin` = d_w - d_l: log 2 where the adapter has changed nothing."""
    return softplus(beta / 2 * margin)


def pull(margin: torch.Tensor, *, beta: float) -> torch.Tensor:
    """The derivative of `preference_loss` by the margin, and so by the winner's error."""
    return beta / 2 * torch.sigmoid(beta / 2 * margin)


def pair_of(group: Group) -> Pair:
    """The first of the best and the first of the worst videos of a group, to be noised alike."""
    winner = group.videos[int(group.total_B.argmax())]
    loser = group.videos[int(group.total_B.argmin())]
    return winner, replace(loser, number=winner.number)


class DpoLearner(RegressionLearner):
    """Remembers nothing from step to step: the base model is the reference."""

    @property
    def _method(self) -> Dpo:
        assert isinstance(self.spec.method, Dpo)
        return self.spec.method

    def _sampling_model(self) -> AbstractContextManager[None]:
        from_base = self._method.pairs_from == "base"
        return self.bench.adapter.disabled() if from_base else super()._sampling_model()

    def _learn(self, groups: list[Group], collected: Collected, *, step: int) -> Lesson:
        pairs, method = [pair_of(group) for group in groups], self._method
        penalty, margins = 0.0, []
        for batch in in_batches(pairs, method.batch_size):
            learnt, margin_KP = self._learn_pairs(batch, step=step, of=len(pairs))
            penalty += learnt.penalty
            margins.append(margin_KP.flatten())
        margin = torch.cat(margins)
        loss = float(preference_loss(margin, beta=method.beta).mean())
        figures = {
            "margin": float(margin.mean()),
            # At first no video is preferred: every margin is 0 and counts half.
            "implicit_accuracy": float((1 - margin.sign()).mean()) / 2,
        }
        return Lesson(Learnt(loss, penalty), method.prediction_penalty, figures)

    def _learn_pairs(
        self, pairs: Sequence[Pair], *, step: int, of: int
    ) -> tuple[Learnt, torch.Tensor]:
        """Adds the gradient of some of the step's `of` pairs; what was pulled, and their margins (K, P)."""
        beta, steps = self._method.beta, self._steps(pairs[0][0], step=step)
        winners, losers = (
            Noised(self.bench, self.spec, videos, step=step, steps=steps)
            for videos in zip(*pairs, strict=True)
        )
        margin_KP = self._gain(winners) - self._gain(losers)
        pull_KP = pull(margin_KP, beta=beta)
        learnt = winners.learn(_weighted(2 * pull_KP, winners.steps), of=2 * of)
        learnt += losers.learn(_weighted(-2 * pull_KP, losers.steps), of=2 * of)
        return learnt, margin_KP

    def _gain(self, noised: Noised) -> torch.Tensor:
        """d (K, P): how much larger the errors are than the base model's."""
        with self.bench.adapter.disabled():
            reference_KP = noised.errors_KB()
        return noised.errors_KB() - reference_KP


def _weighted(weight_KB: torch.Tensor, steps: Sequence[int]) -> Callable[[Point], torch.Tensor]:
    return lambda point: weight_KB[steps.index(point.index), point.videos] * point.errors_B()
