"""Tiny base models with an adapter that already changes something, and what a rollout needs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from vader_core import adapter as adapters
from vader_core import base_models, rewards, seeds
from vader_core.adapter import LoraAdapter
from vader_core.base_models import BaseModel
from vader_core.catalogue import BUILT_IN
from vader_core.devices import Compute
from vader_core.families.family import Conditions
from vader_core.resolve import with_defaults
from vader_core.spec import Adapter, Prompt, RewardTerm, Video

NAMES = ["tiny-unet", "tiny-wan"]
PROMPTS = [
    Prompt(prompt="a red circle moving left", target="moving left"),
    Prompt(prompt="a blue square moving up", target="moving up"),
]


class Scene(NamedTuple):
    """A base model with an adapter, and two videos to be sampled."""

    base: BaseModel
    adapter: LoraAdapter
    video: Video
    conditions: Conditions
    noise: torch.Tensor


def compute(dtype: torch.dtype = torch.float64) -> Compute:
    return Compute(torch.device("cpu"), dtype)


def base_model(name: str, dtype: torch.dtype = torch.float64) -> BaseModel:
    return base_models.load(BUILT_IN.base_models[name], compute(dtype))


def scene(name: str, dtype: torch.dtype = torch.float64, **changes: Any) -> Scene:
    """`changes` are fields of the adapter and of the video."""
    base = base_model(name, dtype)
    spec = Adapter(rank=4, alpha=6.0, dropout=changes.pop("dropout", 0.0))
    adapter = adapters.attach(base, spec, seed=1)
    stir(adapter)
    small = {"width": 16, "height": 16, "num_frames": 3, "inference_steps": 3}
    asked = Video(**{**small, **changes})
    video = with_defaults(asked, base.row)
    conditions = base.conditions(PROMPTS, video)
    shape = base.latents_shape(video, batch=1)
    noise = torch.cat([torch.randn(shape, generator=one) for one in generators(2, "latents")])
    return Scene(base, adapter, video, conditions, noise)


def conditions_of(conditions: Conditions, rows: slice) -> Conditions:
    """Those of some of the videos."""
    return Conditions(
        {name: tensor[rows] for name, tensor in conditions.cond.items()},
        {name: tensor[rows] for name, tensor in conditions.uncond.items()},
        None if conditions.images is None else conditions.images[rows],
    )


def stir(adapter: LoraAdapter) -> None:
    """Gives the second factors values, without which the first factors have no gradient."""
    for index, (name, parameter) in enumerate(adapter.parameters()):
        if ".lora_B." in name:
            drawn = seeds.generator(2, step=0, purpose="stir", index=index)
            parameter.data = (0.1 * torch.randn(parameter.shape, generator=drawn)).to(parameter)


def generators(count: int, purpose: str = "noise") -> list[torch.Generator]:
    return [seeds.generator(3, step=0, purpose=purpose, index=index) for index in range(count)]


def weighted_sum(dtype: torch.dtype = torch.float64, **weights: float) -> rewards.WeightedSum:
    """`tiny_action=1.0` gives the reward tiny-action the weight 1."""
    return rewards.WeightedSum(
        [
            rewards.Term(reward(name.replace("_", "-"), dtype), weight)
            for name, weight in weights.items()
        ]
    )


def reward(name: str, dtype: torch.dtype = torch.float64) -> rewards.Reward:
    row = BUILT_IN.rewards[name]
    schema: Any = row.params_schema
    # Where a reward cannot do without a parameter, the first value that is allowed serves a test.
    params = {key: schema["properties"][key]["enum"][0] for key in schema.get("required", [])}
    return rewards.load(RewardTerm(reward=name, params=params), row, compute(dtype))


def gradients(adapter: LoraAdapter) -> torch.Tensor:
    """The adapter's gradient as one vector; clears it."""
    parts = []
    for _, parameter in adapter.parameters():
        assert parameter.grad is not None
        parts.append(parameter.grad.flatten())
        parameter.grad = None
    return torch.cat(parts)
