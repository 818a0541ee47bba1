"""Fine-tuning on the model's own videos, the best of n or all of them weighted by reward.

Best of n: RAFT (Dong et al., arXiv 2304.06767). Weighted: reward-weighted regression for diffusion models
(Lee et al., arXiv 2302.12192; RWR in arXiv 2305.13301, section 4.1), with softmax weights within a group
of videos of one prompt.

Deviations:
- the loss is the denoising loss alone; neither paper's mix with real or pretraining data is there, since
  a job has none. The prediction penalty can stand in for it;
- samples are made with the guidance of `video.guidance_scale`, the conditional prediction learns;
- a group whose videos score alike teaches nothing (`regression`): its videos are no better than those
  that the model makes anyway;
- see `noising` for the noise levels and the loss.

Letters: B videos of a group.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from vader_core.method_spec import SftBest
from vader_core.methods.collecting import Collected
from vader_core.methods.noising import Learnt, Noised, Point
from vader_core.methods.regression import Group, Lesson, RegressionLearner, in_batches


def weights_B(total_B: torch.Tensor, method: SftBest) -> torch.Tensor:
    """What every video of a group counts by its score; they sum to 1."""
    if method.weighting == "best":
        return torch.nn.functional.one_hot(total_B.argmax(), len(total_B)).to(total_B)
    deviations_B = (total_B - total_B.mean()) / total_B.std(correction=0)
    return torch.softmax(deviations_B / method.temperature, dim=0)


class SftBestLearner(RegressionLearner):
    """Remembers nothing from step to step."""

    @property
    def _method(self) -> SftBest:
        assert isinstance(self.spec.method, SftBest)
        return self.spec.method

    def _sampling_model(self) -> AbstractContextManager[None]:
        from_base = self._method.videos_from == "base"
        return self.bench.adapter.disabled() if from_base else super()._sampling_model()

    def _learn(self, groups: list[Group], collected: Collected, *, step: int) -> Lesson:
        method, learnt = self._method, Learnt(0.0, 0.0)
        weighted = [
            (video, float(weight))
            for group in groups
            for video, weight in zip(group.videos, weights_B(group.total_B, method), strict=True)
            if weight > 0
        ]
        for batch in in_batches(weighted, method.batch_size):
            videos = [video for video, _ in batch]
            steps = self._steps(videos[0], step=step)
            noised = Noised(self.bench, self.spec, videos, step=step, steps=steps)
            # A group's weights sum to 1, and the loss is the mean over groups.
            scale = len(weighted) / len(groups)
            weight_B = noised.clean.new_tensor([scale * weight for _, weight in batch])
            learnt += noised.learn(_weighted(weight_B), of=len(weighted))
        return Lesson(learnt, method.prediction_penalty)


def _weighted(weight_B: torch.Tensor) -> Callable[[Point], torch.Tensor]:
    return lambda point: weight_B[point.videos] * point.errors_B()
