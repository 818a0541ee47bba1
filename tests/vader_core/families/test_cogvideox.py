"""CogVideoX 1.5 samples latent frames in pairs; the first image's draw depends on nothing but the image."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.vader_core.conformance import models_cogvideox
from vader_core import base_models
from vader_core.devices import Compute
from vader_core.families.family import Conditions, Request
from vader_core.resolve import with_defaults
from vader_core.spec import Video


@pytest.mark.parametrize(("num_frames", "sampled", "kept"), [(1, 2, 1), (9, 4, 3), (17, 6, 5)])
def test_latent_frames_are_filled_up_to_pairs_and_the_fill_is_thrown_away(
    tmp_path: Path, num_frames: int, sampled: int, kept: int
) -> None:
    row = models_cogvideox.build_15(tmp_path)
    base = base_models.load(row, Compute(torch.device("cpu"), torch.float32))
    video = with_defaults(Video(num_frames=num_frames), row)
    shape = base.latents_shape(video, batch=2)
    assert shape == (2, sampled, 4, 4, 4)
    latents = torch.randn(shape)
    grid = base.family.to_grid(base.pipeline, latents, video)
    assert torch.equal(grid, latents[:, sampled - kept :].transpose(1, 2))


def test_every_image_is_drawn_with_the_same_seed(tmp_path: Path) -> None:
    row = models_cogvideox.build_image(tmp_path)
    base = base_models.load(row, Compute(torch.device("cpu"), torch.float32))
    video = with_defaults(Video(), row)
    embeds = {"prompt_embeds": torch.zeros(3, 16, 16)}
    noise = torch.zeros(base.latents_shape(video, batch=3))
    arguments = base.family.call(
        base.pipeline, Request(Conditions(embeds, embeds), noise, video, {})
    )
    draws = [torch.randn(4, generator=one) for one in arguments["generator"]]
    assert len(draws) == 3
    assert all(torch.equal(draw, draws[0]) for draw in draws)
