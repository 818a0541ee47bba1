"""VideoCrafter2's checkpoint becomes a pipeline that computes what the published modules compute."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.vader_core.pipelines.videocrafter import published
from tests.vader_core.pipelines.videocrafter.small import SMALL, small_parts
from vader_core.convert.published import read
from vader_core.convert.videocrafter2 import Parts, convert, fill, published_parts, save
from vader_core.errors import WeightsUnreadable
from vader_core.pipelines.videocrafter import VideoCrafterPipeline
from vader_core.tiny.tokenizers import clip_tokenizer

CKPT = Path("model.ckpt")


@pytest.fixture(scope="module")
def checkpoint() -> published.Weights:
    return published.random_weights(SMALL, seed=1)


@pytest.fixture(scope="module")
def parts(checkpoint: published.Weights) -> Parts:
    filled = fill(small_parts(), checkpoint, path=CKPT)
    for model in (filled.unet, filled.autoencoder, filled.text_encoder):
        model.eval()
    # The meta device left this one, which no checkpoint holds, without values.
    filled.text_encoder.embeddings.position_ids = torch.arange(6)[None]
    return filled


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_every_published_name_and_shape_finds_its_place() -> None:
    shapes = published.shapes(published.Sizes())
    # The published file has 7,404,653,244 bytes, all tensors float32. Beside them a checkpoint spends
    # some 350 bytes on each tensor's name, shape and place.
    rest = 7_404_653_244 - 4 * sum(math.prod(shape) for shape in shapes.values())
    assert 330 * len(shapes) < rest < 370 * len(shapes)
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    fill(published_parts(), tensors, path=CKPT)


def test_denoiser_computes_the_published_equations(
    parts: Parts, checkpoint: published.Weights
) -> None:
    weights = published.part(checkpoint, "model.diffusion_model.")
    video, context = randn(2, 4, 3, 8, 16), randn(2, 6, 12)
    expected = published.unet(weights, SMALL, video, 481, context, 28)
    with torch.no_grad():
        got = parts.unet(video, 481, context, 28, return_dict=False)[0]
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_autoencoder_computes_the_published_equations(
    parts: Parts, checkpoint: published.Weights
) -> None:
    weights = published.part(checkpoint, "first_stage_model.")
    latents, images = randn(2, 4, 3, 5), randn(2, 3, 16, 24)
    with torch.no_grad():
        decoded = parts.autoencoder.decode(latents, return_dict=False)[0]
        encoded = parts.autoencoder.encode(images, return_dict=False)[0].parameters
    torch.testing.assert_close(decoded, published.decode(weights, SMALL, latents))
    torch.testing.assert_close(encoded, published.encode(weights, SMALL, images))


def test_text_is_the_layer_before_the_last_after_the_last_norm(
    parts: Parts, checkpoint: published.Weights
) -> None:
    weights = published.part(checkpoint, "cond_stage_model.model.")
    ids = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 7, 0, 0, 0, 0]])
    with torch.no_grad():
        got = parts.text_encoder(ids)[0]
    torch.testing.assert_close(got, published.text(weights, SMALL, ids))


def test_everything_that_does_not_fit_is_named_at_once(checkpoint: published.Weights) -> None:
    broken = dict(checkpoint)
    del broken["model.diffusion_model.init_attn.0.norm.bias"]
    del broken["cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight"]
    broken["first_stage_model.quant_conv.weight"] = torch.zeros(8, 8, 3, 3)
    broken["model.diffusion_model.label_emb.0.weight"] = torch.zeros(2, 2)
    with pytest.raises(WeightsUnreadable) as raised:
        fill(small_parts(), broken, path=CKPT)
    assert "init_attn.0.norm.bias is missing" in raised.value.message
    assert "resblocks.0.attn.in_proj_weight.q is missing" in raised.value.message
    assert "quant_conv.weight is (8, 8, 3, 3), not (8, 8, 1, 1)" in raised.value.message
    assert "label_emb.0.weight is not known" in raised.value.message


def test_the_folder_is_a_pipeline_that_samples(
    checkpoint: published.Weights, tmp_path: Path
) -> None:
    weights = {name: one.float() for name, one in checkpoint.items()}
    torch.save({"state_dict": weights}, tmp_path / "model.ckpt")
    save(
        fill(small_parts(), read(tmp_path / "model.ckpt"), path=CKPT),
        clip_tokenizer(),
        tmp_path / "out",
    )
    pipeline = VideoCrafterPipeline.from_pretrained(tmp_path / "out", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline(
        prompt_embeds=randn(1, 6, 12).float(),
        negative_prompt_embeds=randn(1, 6, 12).float(),
        num_frames=2,
        height=64,
        width=64,
        num_inference_steps=2,
        output_type="pt",
    ).frames
    assert frames.shape == (1, 2, 3, 64, 64)
    assert frames.std() > 0.01
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.ckpt", "out"]


def test_a_checkpoint_with_more_than_tensors_is_refused(tmp_path: Path) -> None:
    vocabulary = tmp_path / "tokenizer"
    vocabulary.mkdir()
    torch.save({"state_dict": {"betas": "text"}}, tmp_path / "model.ckpt")
    with pytest.raises(WeightsUnreadable, match=r"lacks vocab\.json"):
        convert({"checkpoint": tmp_path / "model.ckpt", "tokenizer": vocabulary}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
