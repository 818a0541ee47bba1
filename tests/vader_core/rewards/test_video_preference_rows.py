"""The catalogue's rows of Qwen2-VL judges: their sizes are those of the published models."""

from __future__ import annotations

import importlib

import pytest
import torch
from transformers import Qwen2VLConfig, Qwen2VLModel

from tests.vader_core.convert import test_hpsv3, test_video_reward
from tests.vader_core.convert.plain_qwen2_vl import Sizes
from vader_core.catalogue import BUILT_IN


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("video-reward", test_video_reward.PUBLISHED), ("hpsv3", test_hpsv3.PUBLISHED)],
)
def test_cost_is_that_of_the_published_sizes(name: str, sizes: Sizes) -> None:
    config = Qwen2VLConfig(**sizes.config({"<|image_pad|>": 1, "<|video_pad|>": 2}, [16, 24, 24]))
    config.text_config.vocab_size = sizes.text[-1]
    with torch.device("meta"):
        model = Qwen2VLModel(config)
    cost = BUILT_IN.rewards[name].cost
    assert cost is not None
    millions = sum(one.numel() for one in model.parameters()) / 1e6
    assert cost.parameters_millions == pytest.approx(millions, abs=1e-3)
    # The work of a forward depends on the question's length, which is not shipped.
    assert cost.gflops is None


@pytest.mark.parametrize("name", ["video-reward", "hpsv3"])
def test_weights_have_a_converter(name: str) -> None:
    weights = BUILT_IN.rewards[name].weights
    assert weights is not None
    converter = importlib.import_module(f"vader_core.convert.{weights.converter}")
    assert "checkpoint" in converter.SOURCES
