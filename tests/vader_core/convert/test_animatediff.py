"""AnimateDiff's two halves become one folder: image layers from one, motion layers from the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    DDIMScheduler,
    MotionAdapter,
    StableDiffusionPipeline,
)
from safetensors.torch import save_file

from tests.vader_core.conformance.frame_by_frame import autoencoder, clip_text_encoder
from tests.vader_core.conformance.models_animatediff import image_unet, motion_adapter
from vader_core.convert.animatediff import convert
from vader_core.errors import WeightsUnreadable
from vader_core.tiny.tokenizers import clip_tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    folder, tokenizer = tmp_path_factory.mktemp("base"), clip_tokenizer()
    StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=clip_text_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=image_unet(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def test_the_folder_holds_the_image_layers_and_the_motion_layers(
    base: Path, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    adapter = motion_adapter()
    adapter.save_pretrained(tmp_path / "adapter")
    convert({"base": base, "motion_adapter": tmp_path / "adapter"}, tmp_path / "out")
    pipeline = AnimateDiffPipeline.from_pretrained(tmp_path / "out", local_files_only=True)
    weights = pipeline.unet.state_dict()
    image = StableDiffusionPipeline.from_pretrained(base, local_files_only=True).unet.state_dict()
    motion = adapter.state_dict()
    assert len(image) + len(motion) == len(weights)
    assert all(torch.equal(weights[name], one) for name, one in (image | motion).items())
    assert pipeline.motion_adapter is None
    assert isinstance(pipeline.scheduler, DDIMScheduler)
    assert pipeline.scheduler.config.beta_schedule == "linear"
    assert not pipeline.scheduler.config.clip_sample


def test_a_file_that_is_no_motion_adapter_is_refused_by_name(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "lightning.safetensors"
    save_file({"down_blocks.0.nothing": torch.zeros(1)}, file)
    with pytest.raises(WeightsUnreadable) as raised:
        convert({"base": base, "motion_adapter": file}, tmp_path / "out")
    with torch.device("meta"):
        wanted = len(MotionAdapter().state_dict())
    assert f"and {wanted + 1 - 20} more" in raised.value.message
    assert not (tmp_path / "out").exists()


def test_a_base_of_another_kind_is_refused(base: Path, tmp_path: Path) -> None:
    motion_adapter().save_pretrained(tmp_path / "adapter")
    with pytest.raises(WeightsUnreadable, match="does not exist"):
        convert(
            {"base": tmp_path / "none", "motion_adapter": tmp_path / "adapter"}, tmp_path / "out"
        )
