"""The pretraining corpus: careless captions and scaled latents."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan

from vader_core.tiny import corpus, world
from vader_core.tiny.folders import WEIGHTS_ROOT


@pytest.mark.parametrize("care", [corpus.Care(), corpus.Care(0.1, 0.45)])
def test_captions_name_colour_and_shape_rightly_and_the_direction_seldom(care: corpus.Care) -> None:
    generator = torch.Generator().manual_seed(0)
    scenes = world.all_scenes() * 30
    read = [world.parse(corpus.careless_caption(scene, care, generator)) for scene in scenes]
    pairs = list(zip(scenes, read, strict=True))
    assert all(asked.colour == told.colour and asked.shape == told.shape for asked, told in pairs)
    told = [(asked, told) for asked, told in pairs if told.direction is not None]
    dropped = 1 - len(told) / len(pairs)
    assert dropped == pytest.approx(care.drop_direction, abs=0.03)
    right = sum(asked.direction == seen.direction for asked, seen in told) / len(told)
    expected = care.true_direction + (1 - care.true_direction) / len(world.DIRECTIONS)
    assert right == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize(
    ("name", "loader", "num_frames", "shape"),
    [
        ("tiny-unet", AutoencoderKL, 8, (4, 8, 8, 8)),
        ("tiny-wan", AutoencoderKLWan, 9, (8, 5, 8, 8)),
    ],
)
def test_latents_have_unit_scale(
    name: str,
    loader: type[AutoencoderKL | AutoencoderKLWan],
    num_frames: int,
    shape: tuple[int, ...],
) -> None:
    autoencoder = loader.from_pretrained(WEIGHTS_ROOT / name / "vae")
    data = corpus.build(autoencoder, corpus.Care(), videos=24, num_frames=num_frames, seed=0)
    assert data.latents_NCFHW.shape == (24, *shape)
    assert data.latents_NCFHW.std() == pytest.approx(1, abs=0.15)


def test_a_batch_drops_some_captions_for_guidance() -> None:
    latents = torch.arange(20.0).view(20, 1, 1, 1, 1)
    data = corpus.Corpus(latents, [f"caption {index}" for index in range(20)])
    picked, captions = data.batch(400, torch.Generator().manual_seed(0))
    empty = captions.count("")
    assert 20 <= empty <= 60
    for latent, caption in zip(picked.flatten().tolist(), captions, strict=True):
        assert caption in ("", f"caption {int(latent)}")
