"""The code on a model card, run as a reader would run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vader_core.conformance import models_stable_video_diffusion, models_wan
from tests.vader_core.tiny_models import compute, stir
from vader_core import adapter as adapters
from vader_core import base_models
from vader_core.catalogue import BaseModelRow, Variant, Weights
from vader_core.loading import loading_of
from vader_core.resolve import with_defaults
from vader_core.snippet import snippet
from vader_core.spec import Adapter, Video

# diffusers' Euler scheduler hands a tensor to numpy in a way that numpy means to refuse one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def code_for(row: BaseModelRow, folder: Path, variant: Variant | None = None) -> str:
    """The code, with an exported adapter and a first image in `folder`."""
    base = base_models.load(row, compute(torch.float32))
    adapter = adapters.attach(base, Adapter(rank=2), seed=1)
    stir(adapter)
    adapters.export(adapter, base, folder, card="", lineage={})
    video = with_defaults(Video(), row)
    Image.new("RGB", (video.width or 1, video.height or 1), "red").save(folder / "first.png")
    code = snippet(row, variant, loading_of(base, adapter, video), prompt="a red circle")
    places = {"BASE": row.folder, "ADAPTER": folder, "FIRST_IMAGE": folder / "first.png"}
    for name, place in places.items():
        code = code.replace(name, str(place))
    return code


def names_after(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


@pytest.mark.parametrize(
    "build",
    [
        models_wan.build_experts,
        models_wan.build_image,
        models_stable_video_diffusion.build_clips,
    ],
)
def test_the_code_makes_a_video_of_the_rows_size(
    build: Callable[[Path], BaseModelRow], tmp_path: Path
) -> None:
    row = build(tmp_path / "base").model_copy(update={"scheduler": {"num_train_timesteps": 900}})
    names = names_after(code_for(row, tmp_path / "adapter"))
    assert np.shape(names["frames"])[0] == row.defaults.num_frames
    pipeline = names["pipe"]
    assert pipeline.scheduler.config.num_train_timesteps == 900
    if row.family == "wan":
        assert all(
            hasattr(denoiser, "peft_config")
            for denoiser in (pipeline.transformer, pipeline.transformer_2)
        )


def test_a_variant_of_experts_is_merged_into_both(tmp_path: Path) -> None:
    row = models_wan.build_experts(tmp_path / "base")
    code_for(row, tmp_path / "few")
    variant = Variant(
        title="few steps",
        licence="none",
        weights=Weights(folder=tmp_path / "few"),
        weight_name="transformer/pytorch_lora_weights.safetensors",
        second_weight_name="transformer_2/pytorch_lora_weights.safetensors",
        inference_steps=2,
        guidance_scale=1.0,
        scheduler={"flow_shift": 5.0},
    )
    code = code_for(row, tmp_path / "adapter", variant).replace("VARIANT", str(tmp_path / "few"))
    names = names_after(code)
    assert names["pipe"].scheduler.config.flow_shift == 5.0
    assert len(names["frames"]) == row.defaults.num_frames
