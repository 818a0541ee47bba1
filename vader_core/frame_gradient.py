"""The gradient at a video's frames of what training climbs there.

Plain, it is the gradient of the weighted sum's objective. Three variants, which go together:

* Frames may count differently (`vader_core.frames.weights`): what is climbed is then the objective of the
  weighted mean of the single frames' scores (InstructVideo's temporally attenuated reward, arXiv 2312.12490).
* `relative_prompt`, SRPO's relative reward (arXiv 2509.06942): what is climbed is the score for the prompt
  with the wanted words minus the score with the unwanted ones. As in SRPO's code the words come before the
  prompt, with a full stop and a space between. That code climbs (1 + k) wanted - unwanted with k from 0.01
  to 0.3, by the denoising step, and exchanges the two prompts while it inverts; here k is 0 and there is
  no inversion. The logarithm of a probability is not taken: a difference has none.
* `worst_case_radius`, after RSA-FT (Reward Sharpness-Aware Fine-Tuning, arXiv 2603.21175): the gradient
  is taken at the worst video nearby, one step down the objective's own gradient away, by the linear
  approximation that sharpness-aware minimisation uses. One step for all rewards together, and no pixel
  leaves [0, 1]. The paper moves the model's weights likewise (SAM); that is not done here.

The scores that are reported are comparable with those of evaluations: of the true frames, every frame
counting alike, and for a relative prompt the mean of its two scores, which are the ones that were asked.

Letters: B videos, F frames, C channels, H and W sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from vader_core.method_spec import RelativePrompt, RewardGradient
from vader_core.rewards import Part, Reward, Term, WeightedSum, parts, require_finite
from vader_core.spec import Prompt


@dataclass(frozen=True)
class FrameGradient:
    """`scores` (B,) by reward, as they are reported; `objective_B` what was climbed; both on the CPU.

    `grad_BFCHW` is the gradient of the objective, summed over B.
    """

    scores: dict[str, torch.Tensor]
    objective_B: torch.Tensor
    grad_BFCHW: torch.Tensor


def frame_gradient(
    reward: WeightedSum,
    frames_BFCHW: torch.Tensor,
    prompts: Sequence[Prompt],
    *,
    method: RewardGradient,
    frame_weights_BF: torch.Tensor | None = None,
) -> FrameGradient:
    """Scores and gradient at frames that carry no graph. Every reward is asked
    `method.scores_per_video` times a video, the draws of noise aside.

    `frame_weights_BF` says what each frame counts for; a row sums to 1; None: all alike. Raises
    `RewardNotFinite`.
    """
    asking = _Asking(prompts, method.relative_prompt, method.decode_chunk_frames, frame_weights_BF)
    here = _gradient(reward, frames_BFCHW, asking)
    if not method.worst_case_radius:
        return here
    worst_BFCHW = worst_nearby(frames_BFCHW, here.grad_BFCHW, radius=method.worst_case_radius)
    return replace(_gradient(reward, worst_BFCHW, asking), scores=here.scores)


def worst_nearby(
    frames_BFCHW: torch.Tensor, grad_BFCHW: torch.Tensor, *, radius: float
) -> torch.Tensor:
    """The frames, each video moved against its gradient by the root mean square `radius` per value, in [0, 1].

    A video without a gradient stays where it is.
    """
    rms_B = grad_BFCHW.flatten(1).square().mean(1).sqrt()
    length_B111 = torch.where(rms_B > 0, radius / rms_B, 0.0).view(-1, 1, 1, 1, 1)
    return (frames_BFCHW - length_B111 * grad_BFCHW).clamp(0, 1)


@dataclass(frozen=True)
class _Asking:
    """How the rewards are asked: with which prompts, for how many frames at a time, weighed how."""

    prompts: Sequence[Prompt]
    relative: RelativePrompt | None
    chunk_frames: int
    weights_BF: torch.Tensor | None

    def with_words(self, words: str) -> _Asking:
        """The same, with `words` before every prompt."""
        changed = [
            prompt.model_copy(update={"prompt": f"{words}. {prompt.prompt}"})
            for prompt in self.prompts
        ]
        return replace(self, prompts=changed)


@dataclass(frozen=True)
class _Scored:
    """Scores (B,) on the CPU: to be reported and to be climbed; the gradient of the latter's sum."""

    reported_B: torch.Tensor
    climbed_B: torch.Tensor
    grad_BFCHW: torch.Tensor


def _gradient(reward: WeightedSum, frames_BFCHW: torch.Tensor, asking: _Asking) -> FrameGradient:
    """The chain rule, with the inner part first: a score may be taken a few frames at a time, and what
    training climbs is a function of the whole score."""
    grad_BFCHW = torch.zeros_like(frames_BFCHW)
    objective_B = torch.zeros(len(asking.prompts))
    scores: dict[str, torch.Tensor] = {}
    for term in reward.terms:
        scored = _scored(term, frames_BFCHW, asking)
        leaf_B = scored.climbed_B.requires_grad_()
        climbed_B = term.objective(leaf_B) if asking.relative is None else term.contribution(leaf_B)
        (outer_B,) = torch.autograd.grad(climbed_B.sum(), leaf_B)
        grad_BFCHW += outer_B.to(grad_BFCHW).view(-1, 1, 1, 1, 1) * scored.grad_BFCHW
        objective_B += climbed_B.detach()
        scores[term.name] = scored.reported_B
    return FrameGradient(scores, objective_B, grad_BFCHW)


def _scored(term: Term, frames_BFCHW: torch.Tensor, asking: _Asking) -> _Scored:
    """The term's scores; of a relative prompt the mean and the difference."""
    if asking.relative is None:
        return _score(term.reward, frames_BFCHW, asking)
    wanted = _score(term.reward, frames_BFCHW, asking.with_words(asking.relative.wanted))
    unwanted = _score(term.reward, frames_BFCHW, asking.with_words(asking.relative.unwanted))
    return _Scored(
        reported_B=(wanted.reported_B + unwanted.reported_B) / 2,
        climbed_B=wanted.climbed_B - unwanted.climbed_B,
        grad_BFCHW=wanted.grad_BFCHW - unwanted.grad_BFCHW,
    )


def _score(reward: Reward, frames_BFCHW: torch.Tensor, asking: _Asking) -> _Scored:
    grad_BFCHW = torch.zeros_like(frames_BFCHW)
    reported_B, climbed_B = torch.zeros(2, len(asking.prompts)).unbind()
    for part in parts(reward.row, frames_BFCHW.shape[1], asking.chunk_frames):
        leaf = frames_BFCHW[:, part.frames].detach().requires_grad_()
        plain_B, weighed_B = _score_part(reward, leaf, part, asking)
        (grad,) = torch.autograd.grad(weighed_B.sum(), leaf)
        grad_BFCHW[:, part.frames] = grad
        reported_B += plain_B.detach().float().cpu()
        climbed_B += weighed_B.detach().float().cpu()
    require_finite(reward.row.id, reported_B, asking.prompts)
    return _Scored(reported_B, climbed_B, grad_BFCHW)


def _score_part(
    reward: Reward, frames_BFCHW: torch.Tensor, part: Part, asking: _Asking
) -> tuple[torch.Tensor, torch.Tensor]:
    """What some frames add to the plain mean (B,) and to the weighted one (B,), with their graph."""
    if asking.weights_BF is None:
        share_B = part.share * reward.score(frames_BFCHW, asking.prompts)
        return share_B, share_B
    if reward.row.per != "frame":
        raise ValueError(f"{reward.row.id} does not score frame by frame: none can be weighed")
    # The score of several frames is their mean: to be weighed, each is a video of its own.
    batch, count = frames_BFCHW.shape[:2]
    each = [prompt for prompt in asking.prompts for _ in range(count)]
    score_BF = reward.score(frames_BFCHW.flatten(0, 1)[:, None], each).view(batch, count)
    weights_BF = asking.weights_BF[:, part.frames].to(score_BF)
    return part.share * score_BF.mean(1), (weights_BF * score_BF).sum(1)
