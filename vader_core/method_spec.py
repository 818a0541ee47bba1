"""The methods that can train an adapter, each with its own settings. Free of torch.

All of them share rollout, rewards, evaluation, checkpoints and budget. A training step samples
`batch_size * gradient_accumulation` videos (or as many candidates and pairs), scores them and learns
from them; methods with `updates_per_step` may take several optimiser updates from one step's videos.

`reward_gradient` needs rewards that are differentiable; every other method takes any reward.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from vader_core.gradient_settings import Frames, MethodSettings, RelativePrompt, RewardGradient

__all__ = [
    "GRADIENT_FREE",
    "SETTINGS",
    "Ddpo",
    "Dpo",
    "Frames",
    "Grpo",
    "Method",
    "MethodName",
    "MethodSettings",
    "Nft",
    "OnlineSettings",
    "RelativePrompt",
    "RewardGradient",
    "SftBest",
]


# Settings of several methods, whose defaults differ or which not all have.
GuidanceGradient = Annotated[
    Literal["conditional", "both"],
    Field(description="Whether the unconditional branch of guidance carries gradient too."),
]
MicroBatches = Annotated[
    int,
    Field(
        ge=1,
        description="Micro-batches of a training step, which samples batch_size times as many videos.",
    ),
]
RankedGroup = Annotated[
    int,
    Field(
        ge=2,
        description="Videos made for every prompt of a step; a step's videos must be a multiple of it.",
    ),
]
Updates = Annotated[int, Field(ge=1, description="Optimiser updates from one step's videos.")]
ClipRange = Annotated[
    float, Field(gt=0, description="The ratio of probabilities is clipped to 1 +- this.")
]


class OnlineSettings(MethodSettings):
    """What the methods without reward gradients have in common.

    `group_size` videos are made for every prompt of a step, so `batch_size * gradient_accumulation`
    must be a multiple of it. `sampling_steps` are the denoising steps of training rollouts; None takes
    `video.inference_steps`. `train_steps` of them, drawn anew for every video batch, are learnt from;
    None takes all.
    """

    group_size: int = Field(
        default=4,
        ge=1,
        description="Videos made for every prompt of a step; a step's videos must be a multiple of it.",
    )
    sampling_steps: int | None = Field(
        default=None,
        ge=1,
        description="Denoising steps of training rollouts; null takes video.inference_steps.",
    )
    train_steps: int | None = Field(
        default=None,
        ge=1,
        description="How many of a rollout's denoising steps are learnt from, drawn anew; null takes all.",
    )


class Ddpo(OnlineSettings):
    """DDPO with importance sampling (Black et al., arXiv 2305.13301): the denoising steps as a policy.

    Advantages are rewards normalised by the running mean and deviation of the prompt's last
    `statistics_window` rewards (over all prompts until a prompt has `statistics_min` of them), clipped
    at `advantage_clip`. `noise_level` is the stochastic sampler's eta (1: DDPM's noise).
    `updates_per_step` optimiser updates are taken from one step's videos, each going over all of them, the
    ratio of probabilities clipped to 1 +- `clip_range`. Log-probabilities are means over a sample's
    elements, for which the small default is meant; with one update the ratio is 1 and nothing is clipped.
    The policy is the guided prediction: `guidance_gradient` "conditional" saves time and leaves a part of
    its gradient out.
    """

    type: Literal["ddpo"]
    guidance_gradient: GuidanceGradient = "both"
    group_size: int = Field(
        default=1,
        ge=1,
        description="Videos made for every prompt of a step; a step's videos must be a multiple of it.",
    )
    noise_level: float = Field(
        default=1.0, gt=0, le=1, description="The stochastic sampler's eta; 1 is DDPM's noise."
    )
    clip_range: ClipRange = 1e-4
    advantage_clip: float = Field(
        default=5.0, gt=0, description="Advantages are clipped to +- this many deviations."
    )
    statistics_window: int = Field(
        default=32,
        ge=2,
        description="A prompt's latest rewards that its mean and deviation are taken over.",
    )
    statistics_min: int = Field(
        default=16,
        ge=2,
        description="Rewards that a prompt needs before its own statistics are used.",
    )
    updates_per_step: Updates = 1


class Grpo(OnlineSettings):
    """Flow-GRPO (Liu et al., arXiv 2505.05470): advantages within a prompt's group, a stochastic sampler
    for flow matching (DDIM with noise for diffusion), few trained steps, KL to the base model.

    `flow_sampler` says how flow-matching models are sampled: by the paper's `sde`, where `noise_level` is its
    a: sigma_t = a sqrt(t / (1 - t)), or by `ddim` with noise, as all other models are, where it is eta and at
    most 1. The latter leaves as much noise as the model expects, also when steps are few.
    `kl_weight` is beta. `normalise_by_deviation` divides advantages by the group's deviation.
    `updates_per_step`, `clip_range` and `guidance_gradient` are as in `Ddpo`.
    """

    type: Literal["grpo"]
    guidance_gradient: GuidanceGradient = "both"
    group_size: RankedGroup = 8
    noise_level: float = Field(
        default=0.7, gt=0, description="With flow_sampler sde the paper's a; else eta, at most 1."
    )
    flow_sampler: Literal["sde", "ddim"] = Field(
        default="sde",
        description="How flow-matching models are sampled: by the paper's SDE, or by DDIM with noise.",
    )
    clip_range: ClipRange = 1e-4
    advantage_clip: float = Field(
        default=5.0, gt=0, description="Advantages are clipped to +- this many deviations."
    )
    kl_weight: float = Field(
        default=0.004,
        ge=0,
        description="Weighs the divergence from the base model (the paper's beta).",
    )
    normalise_by_deviation: bool = Field(
        default=True, description="Divides advantages by the group's deviation."
    )
    updates_per_step: Updates = 1
    gradient_accumulation: MicroBatches = 16


class Nft(OnlineSettings):
    """DiffusionNFT (arXiv 2509.16117): videos of any sampler, noised again; the adapter moves towards good
    ones and away from bad ones by one regression, without likelihoods.

    `beta` is the strength of the implicit positive and negative predictions. The old policy, which samples,
    keeps `old_policy_decay_rise` times the steps done of itself per step, at most `old_policy_decay`.
    `advantage_clip` is the advantage, in deviations of the step's rewards, that counts as wholly good or bad.
    `kl_weight` weighs the pull to the base model and adds to `prediction_penalty`.
    """

    type: Literal["nft"]
    group_size: RankedGroup = 8
    beta: float = Field(
        default=1.0,
        gt=0,
        description="The strength of the implicit positive and negative predictions.",
    )
    advantage_clip: float = Field(
        default=5.0,
        gt=0,
        description="The advantage, in deviations, that counts as wholly good or bad.",
    )
    old_policy_decay: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="The most that the sampling policy keeps of itself in a step.",
    )
    old_policy_decay_rise: float = Field(
        default=0.001,
        ge=0,
        description="How much more of itself the sampling policy keeps with every step.",
    )
    kl_weight: float = Field(
        default=1e-4,
        ge=0,
        description="Weighs the pull to the base model, in addition to prediction_penalty.",
    )
    gradient_accumulation: MicroBatches = 16


class Dpo(OnlineSettings):
    """Diffusion-DPO (Wallace et al., arXiv 2311.12908) on pairs that the reward ranks.

    Of every prompt's `group_size` videos the best and the worst make a pair. They are sampled from the
    base model, or from the adapter as it is (`pairs_from` "current": online rounds). `beta` is the
    strength of the pull to the base model.
    """

    type: Literal["dpo"]
    group_size: RankedGroup = 4
    beta: float = Field(
        default=2000.0, gt=0, description="The strength of the pull to the base model."
    )
    pairs_from: Literal["base", "current"] = Field(
        default="base",
        description="Whether pairs are sampled from the base model or from the adapter as it is.",
    )


class SftBest(OnlineSettings):
    """Fine-tuning on the model's own best videos: best of n, or all weighted by reward (RWR).

    With `weighting` "best" the best of every prompt's `group_size` videos is learnt; with "softmax" all
    are, weighted by softmax of the group's normalised rewards / `temperature`.
    """

    type: Literal["sft_best"]
    group_size: RankedGroup = 4
    weighting: Literal["best", "softmax"] = Field(
        default="best",
        description="Whether a prompt's best video is learnt from, or all, weighted by the softmax of their rewards.",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="With weighting softmax: a higher one weighs the videos more alike.",
    )
    videos_from: Literal["base", "current"] = Field(
        default="current",
        description="Whether videos are sampled from the base model or from the adapter as it is.",
    )


def _with_type(document: object) -> object:
    """A document that names no method means reward_gradient."""
    if isinstance(document, dict) and "type" not in document:
        return {"type": "reward_gradient", **document}
    return document


Method = Annotated[
    Annotated[RewardGradient | Ddpo | Grpo | Nft | Dpo | SftBest, Field(discriminator="type")],
    BeforeValidator(_with_type),
]
MethodName = Literal["reward_gradient", "ddpo", "grpo", "nft", "dpo", "sft_best"]
SETTINGS: dict[str, type[MethodSettings]] = {
    "reward_gradient": RewardGradient,
    "ddpo": Ddpo,
    "grpo": Grpo,
    "nft": Nft,
    "dpo": Dpo,
    "sft_best": SftBest,
}
# The methods that need no gradient of the reward.
GRADIENT_FREE = tuple(name for name in SETTINGS if name != "reward_gradient")
