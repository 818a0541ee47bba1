"""DiffusionNFT: one regression that is drawn to well scored videos and repelled by the others.

Zheng et al., arXiv 2509.16117. An old policy samples. With v_old its prediction and v the adapter's, the
implicit positive and negative predictions are
    v+ = (1 - beta) v_old + beta v        v- = (1 + beta) v_old - beta v
and a video's loss is r |v+ - target|^2 + (1 - r) |v- - target|^2, where r in [0, 1] says how good it is:
    r = 1/2 + 1/2 clip(advantage / advantage_clip, -1, 1)
with the advantage against the mean of the prompt's videos, in deviations of all rewards of the step. As in
the paper's published code the loss is weighted by advantage_clip / beta, each squared error is divided by
the mean absolute error (without gradient), errors are those of the predicted clean video, and the old
policy follows the adapter after every step by a decay that rises from 0.

Deviations:
- the clean video's error grows without bound with the noise where the denoiser predicts noise: there it is
  counted as for a v prediction, which is the same at low noise;
- videos are sampled with the guidance of `video.guidance_scale`, where the paper samples without; the
  conditional prediction learns in both;
- a group that is not ranked is left out (`regression`), where the paper pulls to the old policy;
- the adapter itself is evaluated and saved, without a further moving average;
- see `noising` for the noise levels. `kl_weight` adds to `prediction_penalty`, which is the paper's KL.

Letters: B videos, R rows of a scheduler's batch.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import torch

from vader_core.method_spec import Nft
from vader_core.methods.advantages import group_advantages
from vader_core.methods.collecting import Collected
from vader_core.methods.noising import Learnt, Noised, Point
from vader_core.methods.regression import Group, Lesson, RegressionLearner, in_batches
from vader_core.process import Process
from vader_core.spec import JobSpec
from vader_core.workbench import Workbench

# The least mean absolute error that squared errors are divided by.
_LEAST_ERROR = 1e-5


def goodness_B(total_B: torch.Tensor, method: Nft) -> torch.Tensor:
    """r of a step's videos by their scores, `group_size` in a row for one prompt."""
    above_B = group_advantages(total_B, group_size=method.group_size, normalised=False)
    advantage_B = above_B / total_B.double().std(correction=0)
    return 0.5 + 0.5 * (advantage_B / method.advantage_clip).clamp(-1, 1)


def losses_B(
    point: Point, old_output: torch.Tensor, r_B: torch.Tensor, method: Nft
) -> torch.Tensor:
    """Every video's loss, before the pull to the base model. `old_output` (R, ...) is the old policy's."""
    beta = method.beta
    positive = (1 - beta) * old_output + beta * point.output
    negative = (1 + beta) * old_output - beta * point.output
    loss_B = r_B * _errors_B(point, positive) + (1 - r_B) * _errors_B(point, negative)
    return loss_B * (method.advantage_clip / beta * _clean_error(point.process, point.index))


def _errors_B(point: Point, output: torch.Tensor) -> torch.Tensor:
    """Squared errors over mean absolute ones."""
    error = output - point.process.target(point.index, point.clean, point.noise)
    absolute_B = point.means_B(error.detach().abs()).clamp(min=_LEAST_ERROR)
    return point.means_B(error.square()) / absolute_B


def _clean_error(process: Process, step: int) -> float:
    """How far the predicted clean video is off where the prediction is off by 1."""
    alpha, sigma = float(process.alphas[step]), float(process.sigmas[step])
    known = {"clean": 1.0, "flow": sigma, "flow_to_data": sigma}
    return known.get(process.prediction, sigma / math.hypot(alpha, sigma))


def old_policy_decay(method: Nft, *, updates: int) -> float:
    """How much the old policy keeps of itself after so many updates."""
    return min(method.old_policy_decay_rise * updates, method.old_policy_decay)


class NftLearner(RegressionLearner):
    """Remembers the old policy, on the CPU."""

    def __init__(self, bench: Workbench, spec: JobSpec) -> None:
        super().__init__(bench, spec)
        self._old = bench.adapter.state_dict()

    @property
    def _method(self) -> Nft:
        assert isinstance(self.spec.method, Nft)
        return self.spec.method

    def state_dict(self) -> dict[str, torch.Tensor]:
        return dict(self._old)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self._old = dict(state)

    def _sampling_model(self) -> AbstractContextManager[None]:
        return self._old_policy()

    @contextmanager
    def _old_policy(self) -> Iterator[None]:
        """Inside, the adapter is the old policy's."""
        adapter = self.bench.adapter
        current = adapter.state_dict()
        adapter.load_state_dict(self._old)
        try:
            yield
        finally:
            adapter.load_state_dict(current)

    def _learn(self, groups: list[Group], collected: Collected, *, step: int) -> Lesson:
        method, learnt = self._method, Learnt(0.0, 0.0)
        weight = method.kl_weight + method.prediction_penalty
        r_B = goodness_B(collected.total_B, method).tolist()
        judged = [
            (video, r_B[group.first + place])
            for group in groups
            for place, video in enumerate(group.videos)
        ]
        distances: list[float] = []
        for batch in in_batches(judged, method.batch_size):
            videos = [video for video, _ in batch]
            steps = self._steps(videos[0], step=step)
            noised = Noised(self.bench, self.spec, videos, step=step, steps=steps)
            with self._old_policy():
                old = noised.outputs()
            r = noised.clean.new_tensor([r for _, r in batch])
            losses = self._losses(noised, old, r, distances)
            learnt += noised.learn(losses, of=len(judged), penalty_weight=weight)
        figures = {
            "r_deviation": statistics.pstdev(r for _, r in judged),
            "old_policy_distance": statistics.fmean(distances),
        }
        return Lesson(learnt, weight, figures)

    def _losses(
        self,
        noised: Noised,
        old: Mapping[int, torch.Tensor],
        r_B: torch.Tensor,
        distances: list[float],
    ) -> Callable[[Point], torch.Tensor]:
        """The loss of each point. Notes the mean squared distance to the old policy in `distances`."""

        def losses(point: Point) -> torch.Tensor:
            old_output = noised.rows(old[point.index], point.videos)
            distances.append(float((point.output.detach() - old_output).square().mean()))
            return losses_B(point, old_output, r_B[point.videos], self._method)

        return losses

    def _updated(self, number: int) -> None:
        decay = old_policy_decay(self._method, updates=number + 1)
        current = self.bench.adapter.state_dict()
        self._old = {
            name: decay * old + (1 - decay) * current[name] for name, old in self._old.items()
        }
