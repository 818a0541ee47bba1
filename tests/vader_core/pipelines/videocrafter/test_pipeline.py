"""VideoCrafter2's sampler: its loop against a plain one, its frames, its texts and its LoRA files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.vader_core.conformance import models_videocrafter
from tests.vader_core.tiny_models import compute, stir
from vader_core import adapter as adapters
from vader_core import base_models
from vader_core.base_models import BaseModel
from vader_core.pipelines.videocrafter import VideoCrafterPipeline
from vader_core.spec import Adapter

SMALL: dict[str, Any] = {
    "height": 16,
    "width": 24,
    "num_frames": 3,
    "num_inference_steps": 4,
    "return_dict": False,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("videocrafter") / "small"
    return base_models.load(models_videocrafter.build(folder), compute())


def sampled(base: BaseModel, **changes: Any) -> Any:
    arguments = {"prompt": "a red circle", "output_type": "latent", **SMALL, **changes}
    if "prompt_embeds" in changes:
        del arguments["prompt"]
    if "latents" not in changes:
        arguments["generator"] = torch.Generator().manual_seed(1)
    return base.pipeline(**arguments)[0]


@pytest.mark.parametrize("guidance", [1.0, 12.0])
def test_the_loop_is_guided_ddim_with_fresh_noise_at_every_step(
    base: BaseModel, guidance: float
) -> None:
    pipeline = base.pipeline
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(4)
    with torch.no_grad():
        cond, uncond = (pipeline.encode_prompt([text]) for text in ("a red circle", "blue"))
        generator = torch.Generator().manual_seed(1)
        latents = torch.randn(1, 4, 3, 4, 6, generator=generator, dtype=torch.float64)
        for timestep in (751, 501, 251, 1):
            noise = pipeline.unet(latents, timestep, cond, 28, return_dict=False)[0]
            if guidance > 1:
                other = pipeline.unet(latents, timestep, uncond, 28, return_dict=False)[0]
                noise = other + guidance * (noise - other)
            latents = scheduler.step(noise, timestep, latents, eta=1.0, generator=generator)[0]
    got = sampled(base, negative_prompt="blue", guidance_scale=guidance)
    torch.testing.assert_close(got, latents)


def test_the_frame_rate_changes_the_video(base: BaseModel) -> None:
    assert (sampled(base) - sampled(base, fps=8)).abs().max() > 1e-3


def test_texts_and_their_embeddings_give_the_same_video(base: BaseModel) -> None:
    with torch.no_grad():
        embeds, negative = (base.pipeline.encode_prompt([text]) for text in ("a red circle", ""))
    got = sampled(base, prompt_embeds=embeds, negative_prompt_embeds=negative)
    assert torch.equal(got, sampled(base))


def test_frames_are_the_autoencoders_images_of_the_latents(base: BaseModel) -> None:
    latents, vae = sampled(base), base.pipeline.vae
    with torch.no_grad():
        images = vae.decode(latents[0].transpose(0, 1) / vae.config.scaling_factor)[0]
    frames = sampled(base, output_type="pt")
    torch.testing.assert_close(frames[0], (images / 2 + 0.5).clamp(0, 1))
    assert sampled(base, output_type="np").shape == (1, 3, 16, 24, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"prompt": None}, "Give `prompt`"), ({"width": 25}, "multiples of 4, not 16 and 25")],
)
def test_a_call_that_cannot_work_says_why(
    base: BaseModel, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sampled(base, **changes)


def test_an_exported_adapter_loads_into_the_pipeline(base: BaseModel, tmp_path: Path) -> None:
    plain = sampled(base)
    fresh = VideoCrafterPipeline.from_pretrained(
        base.row.folder, local_files_only=True, dtype=torch.float64
    )
    fresh.set_progress_bar_config(disable=True)
    adapter = adapters.attach(base, Adapter(rank=2, alpha=4.0), seed=1)
    stir(adapter)
    adapted = sampled(base)
    (layout,) = adapters.layouts(adapter, base).items()
    save_file(layout[1], tmp_path / layout[0])
    fresh.load_lora_weights(tmp_path, local_files_only=True)
    base.pipeline = fresh
    torch.testing.assert_close(sampled(base), adapted, rtol=1e-4, atol=1e-4)
    assert (adapted - plain).abs().max() > 1e-2
