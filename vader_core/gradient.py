"""The reward's gradient at the adapter's weights, stage by stage.

VADER's objective (arXiv 2407.08737, section 4): maximise the mean reward of sampled videos over the
LoRA weights, by the gradient through reward, decoder and the last K denoising steps. The chain is cut
at the latents: frames are decoded without a graph, the reward is differentiated at the frames, that
gradient is pulled back through the decoder a few frames at a time (`vader_core.decoders`), and the
gradient at the latents goes once through the denoiser. The numbers are those of one backward pass
through everything; the memory is that of the largest stage, not of their sum.

Deviations: the loss is minus the mean reward itself, or its logarithm for probabilities, where the
paper's code takes a distance from a target score or a cross-entropy; every chosen frame may be scored, where the paper's code takes one; and an optional
penalty on the distance to the base model's predictions (`vader_core.rollout`).

Letters: B videos, F frames, C channels, f latent frames, H and W sizes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vader_core.rewards import Reward, WeightedSum, parts, require_finite
from vader_core.rollout import Rollout
from vader_core.spec import Prompt, RewardGradient


@dataclass(frozen=True)
class GradientSeconds:
    """Seconds of decoding (both ways), of the rewards (both ways) and of the denoiser's backward."""

    decode: float
    reward: float
    backward: float


@dataclass(frozen=True)
class GradientResult:
    """`loss` is minus the mean objective plus the weighted penalty. `total_B` is the weighted sum of the
    scores, which are unweighted themselves; all on the CPU."""

    loss: float
    total_B: torch.Tensor
    per_reward: dict[str, torch.Tensor]
    penalty: float
    seconds: GradientSeconds


def staged_gradient(
    rollout: Rollout,
    reward: WeightedSum,
    prompts: Sequence[Prompt],
    *,
    frame_indices_BF: torch.Tensor,
    method: RewardGradient,
    loss_scale: float = 1.0,
) -> GradientResult:
    """Adds the gradient of `loss_scale * loss` to the `.grad` of the adapter's weights.

    `rollout` is used up: its graph is freed. `frame_indices_BF` says which frames are decoded and
    scored (`vader_core.frames`). Raises `RewardNotFinite` before anything is added.
    """
    clock = rollout.base.compute.clock
    times = [clock()]
    latents_BCfHW = rollout.latents_BCfHW.detach().requires_grad_()
    decoded_BFCHW = rollout.base.decode(
        latents_BCfHW, frame_indices_BF, chunk_frames=method.decode_chunk_frames
    )
    times.append(clock())
    scores, grad_frames_BFCHW = _reward_gradient(
        reward, decoded_BFCHW.detach(), prompts, method.decode_chunk_frames
    )
    times.append(clock())
    (grad_latents,) = torch.autograd.grad(decoded_BFCHW, latents_BCfHW, grad_frames_BFCHW)
    times.append(clock())
    outputs, grads = [rollout.latents_BCfHW], [-loss_scale * grad_latents / len(prompts)]
    if rollout.penalty is not None:
        outputs.append(rollout.penalty)
        grads.append(torch.full_like(rollout.penalty, loss_scale * method.prediction_penalty))
    torch.autograd.backward(outputs, grads)
    times.append(clock())
    total_B = reward.total(scores)
    penalty = 0.0 if rollout.penalty is None else float(rollout.penalty.detach())
    decode_there, score, decode_back, backward = (
        after - before for before, after in itertools.pairwise(times)
    )
    return GradientResult(
        loss=-float(reward.objective(scores).mean()) + method.prediction_penalty * penalty,
        total_B=total_B,
        per_reward=scores,
        penalty=penalty,
        seconds=GradientSeconds(decode_there + decode_back, score, backward),
    )


def _reward_gradient(
    reward: WeightedSum,
    frames_BFCHW: torch.Tensor,
    prompts: Sequence[Prompt],
    chunk_frames: int,
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Every reward's scores (B,), and the gradient of the objective, summed over B, at the frames.

    The chain rule, with the inner part first: a score may be taken a few frames at a time, and what
    training climbs is a function of the whole score.
    """
    grad_BFCHW = torch.zeros_like(frames_BFCHW)
    scores: dict[str, torch.Tensor] = {}
    for term in reward.terms:
        score_B, grad_score_BFCHW = _score_gradient(
            term.reward, frames_BFCHW, prompts, chunk_frames
        )
        require_finite(term.name, score_B, prompts)
        leaf_B = score_B.requires_grad_()
        (outer_B,) = torch.autograd.grad(term.objective(leaf_B).sum(), leaf_B)
        grad_BFCHW += outer_B.to(grad_BFCHW).view(-1, 1, 1, 1, 1) * grad_score_BFCHW
        scores[term.name] = score_B.detach()
    return scores, grad_BFCHW


def _score_gradient(
    reward: Reward, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt], chunk_frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The scores (B,), on the CPU, and the gradient of their sum at the frames."""
    grad_BFCHW = torch.zeros_like(frames_BFCHW)
    score_B = torch.zeros(len(prompts))
    for part in parts(reward.row, frames_BFCHW.shape[1], chunk_frames):
        leaf = frames_BFCHW[:, part.frames].detach().requires_grad_()
        part_B = reward.score(leaf, prompts)
        (grad,) = torch.autograd.grad(part_B.sum(), leaf)
        grad_BFCHW[:, part.frames] = part.share * grad
        score_B += part.share * part_B.detach().float().cpu()
    return score_B, grad_BFCHW
