"""The catalogue's rows of rewards on single images: their costs are those of the classes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPConfig, CLIPModel

from vader_core.catalogue import BUILT_IN
from vader_core.convert import image_reward, mps
from vader_core.convert.clip_vit_h import clip_vit_h
from vader_core.rewards.head import Head, HeadConfig

PIXELS = torch.empty(1, 3, 224, 224, device="meta")
Model = tuple[list[nn.Module], Callable[[], object]]


def clip_vit_l() -> CLIPModel:
    """config.json of openai/clip-vit-large-patch14."""
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
    layers = {"num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768}
    config = CLIPConfig(
        projection_dim=768,
        text_config={**text, "num_hidden_layers": 12, "projection_dim": 768},
        vision_config={**vision, **layers},
    )
    with torch.device("meta"):
        return CLIPModel(config)


def embedded(clip: CLIPModel) -> torch.Tensor:
    return clip.visual_projection(clip.vision_model(pixel_values=PIXELS).pooler_output)


def similarity(clip: CLIPModel) -> Model:
    return [clip], lambda: embedded(clip)


def with_head(widths: list[int]) -> Model:
    clip = clip_vit_l()
    with torch.device("meta"):
        head = Head(HeadConfig(widths=widths))
    return [clip.vision_model, clip.visual_projection, head], lambda: head(embedded(clip))


def image_reward_model() -> Model:
    parts = image_reward.published_parts()
    tokens = torch.zeros(1, 35, dtype=torch.long, device="meta")

    def forward() -> object:
        states = parts.vision(pixel_values=PIXELS).last_hidden_state
        seen = parts.text(input_ids=tokens, encoder_hidden_states=states).last_hidden_state
        return parts.head(seen[:, 0])

    return [parts.vision, parts.text, parts.head], forward


def mps_model() -> Model:
    parts = mps.published_parts()
    tokens = torch.empty(1, 77, 1024, device="meta")
    visible = torch.ones(1, 77, dtype=torch.bool, device="meta")

    def forward() -> object:
        states = parts.clip.vision_model(pixel_values=PIXELS).last_hidden_state
        return parts.cross(parts.clip.visual_projection(states), tokens, visible)

    return [parts.clip, parts.cross], forward


MODELS: list[tuple[list[str], Callable[[], Model]]] = [
    (["aesthetic", "rainy", "snowy"], lambda: with_head([768, 1024, 128, 64, 16, 1])),
    (["compressibility"], lambda: with_head([768, 512, 128, 32, 1])),
    (["clip-score"], lambda: similarity(clip_vit_l())),
    (["hps-v2.0", "hps-v2.1", "pickscore"], lambda: similarity(clip_vit_h())),
    (["imagereward"], image_reward_model),
    (["mps"], mps_model),
]


@pytest.mark.parametrize(("names", "model"), MODELS, ids=[names[0] for names, _ in MODELS])
def test_cost_is_that_of_one_forward_of_the_published_sizes(
    names: list[str], model: Callable[[], Model]
) -> None:
    modules, forward = model()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward()
    millions = sum(one.numel() for module in modules for one in module.parameters()) / 1e6
    for name in names:
        cost = BUILT_IN.rewards[name].cost
        assert cost is not None
        assert cost.parameters_millions == pytest.approx(millions, abs=1e-3)
        assert cost.gflops == pytest.approx(counter.get_total_flops() / 1e9, abs=1e-3)


def test_frames_can_be_stretched_for_every_one_of_them() -> None:
    for name in [name for names, _ in MODELS for name in names]:
        properties = BUILT_IN.rewards[name].params_schema["properties"]
        assert isinstance(properties, dict)
        assert set(properties) == {"fit"}
