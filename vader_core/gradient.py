"""The reward's gradient at the adapter's weights, stage by stage.

VADER's objective (arXiv 2407.08737, section 4): maximise the mean reward of sampled videos over the
LoRA weights, by the gradient through reward, decoder and the last K denoising steps. The chain is cut
at the latents: frames are decoded without a graph, the reward is differentiated at the frames, that
gradient is pulled back through the decoder a few frames at a time (`vader_core.decoders`), and the
gradient at the latents goes once through the denoiser. The numbers are those of one backward pass
through everything; the memory is that of the largest stage, not of their sum.

Deviations: the loss is minus the mean reward itself, or its logarithm for probabilities, where the
paper's code takes a distance from a target score or a cross-entropy; every chosen frame may be scored,
where the paper's code takes one; what is climbed at the frames has the variants of
`vader_core.frame_gradient`; and an optional penalty on the distance to the base model's predictions
(`vader_core.rollout`).

Letters: B videos, F frames, C channels, f latent frames, H and W sizes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vader_core.frame_gradient import frame_gradient
from vader_core.frames import Chosen
from vader_core.method_spec import RewardGradient
from vader_core.rewards import WeightedSum
from vader_core.rollout import Rollout
from vader_core.spec import Prompt


@dataclass(frozen=True)
class GradientSeconds:
    """Seconds of decoding (both ways), of the rewards (both ways) and of the denoiser's backward."""

    decode: float
    reward: float
    backward: float


@dataclass(frozen=True)
class GradientResult:
    """`loss` is minus the mean of what was climbed plus the weighted penalty. `total_B` is the weighted sum
    of the scores, which are unweighted themselves; all on the CPU."""

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
    chosen: Chosen,
    method: RewardGradient,
    loss_scale: float = 1.0,
) -> GradientResult:
    """Adds the gradient of `loss_scale * loss` to the `.grad` of the adapter's weights.

    `rollout` is used up: its graph is freed. `chosen` says which frames are decoded and scored and what
    each counts for. Raises `RewardNotFinite` before anything is added.
    """
    clock = rollout.base.compute.clock
    times = [clock()]
    latents_BCfHW = rollout.latents_BCfHW.detach().requires_grad_()
    decoded_BFCHW = rollout.base.decode(
        latents_BCfHW, chosen.numbers_BF, chunk_frames=method.decode_chunk_frames
    )
    times.append(clock())
    found = frame_gradient(
        reward,
        decoded_BFCHW.detach(),
        prompts,
        method=method,
        frame_weights_BF=chosen.weights_BF,
    )
    times.append(clock())
    (grad_latents,) = torch.autograd.grad(decoded_BFCHW, latents_BCfHW, found.grad_BFCHW)
    times.append(clock())
    outputs, grads = [rollout.latents_BCfHW], [-loss_scale * grad_latents / len(prompts)]
    if rollout.penalty is not None:
        outputs.append(rollout.penalty)
        grads.append(torch.full_like(rollout.penalty, loss_scale * method.prediction_penalty))
    torch.autograd.backward(outputs, grads)
    times.append(clock())
    penalty = 0.0 if rollout.penalty is None else float(rollout.penalty.detach())
    decode_there, score, decode_back, backward = (
        after - before for before, after in itertools.pairwise(times)
    )
    return GradientResult(
        loss=-float(found.objective_B.mean()) + method.prediction_penalty * penalty,
        total_B=reward.total(found.scores),
        per_reward=found.scores,
        penalty=penalty,
        seconds=GradientSeconds(decode_there + decode_back, score, backward),
    )
