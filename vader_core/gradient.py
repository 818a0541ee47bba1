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

from vader_core.rewards import Reward, WeightedSum, objective, require_finite
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
    """Every reward's scores (B,), and the gradient of the objective, summed over B, at the frames."""
    grad_BFCHW = torch.zeros_like(frames_BFCHW)
    scores: dict[str, torch.Tensor] = {}
    for weight, term in reward.terms:
        score_B = torch.zeros(len(prompts))
        for part in _parts(term, frames_BFCHW.shape[1], chunk_frames):
            share = (part.stop - part.start) / frames_BFCHW.shape[1]
            leaf = frames_BFCHW[:, part].detach().requires_grad_()
            part_B = term.score(leaf, prompts)
            (grad,) = torch.autograd.grad(objective(term.row, part_B).sum(), leaf)
            grad_BFCHW[:, part] += weight * share * grad
            score_B += share * part_B.detach().float().cpu()
        require_finite(term.row.id, score_B, prompts)
        scores[term.row.id] = score_B
    return scores, grad_BFCHW


def _parts(term: Reward, num_frames: int, chunk_frames: int) -> list[slice]:
    """A reward per frame is a mean over frames: it may be taken a few at a time."""
    if term.row.per != "frame":
        return [slice(0, num_frames)]
    starts = range(0, num_frames, chunk_frames)
    return [slice(start, min(start + chunk_frames, num_frames)) for start in starts]
