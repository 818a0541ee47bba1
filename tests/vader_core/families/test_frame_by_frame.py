"""VideoCrafter2, AnimateDiff and Latte: what the pipeline makes of texts is what the rollout makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.vader_core.conformance import models_animatediff, models_latte, models_videocrafter
from tests.vader_core.tiny_models import PROMPTS, compute, generators
from vader_core import base_models, rollout
from vader_core.base_models import BaseModel
from vader_core.catalogue import BaseModelRow
from vader_core.resolve import with_defaults
from vader_core.spec import Video

BUILDERS = {
    "videocrafter": models_videocrafter.build,
    "animatediff": models_animatediff.build,
    "latte": models_latte.build,
}


@pytest.fixture(scope="module", params=BUILDERS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    build: Callable[[Path], BaseModelRow] = BUILDERS[request.param]
    return base_models.load(build(tmp_path_factory.mktemp("model") / "small"), compute())


def test_sampling_is_the_pipelines_own_call_from_text(base: BaseModel) -> None:
    video = with_defaults(Video(negative_prompt="blue"), base.row)
    noise = torch.randn(base.latents_shape(video, batch=1), dtype=torch.float64)
    got = rollout.generate(
        rollout.Batch(base, base.conditions(PROMPTS[:1], video), noise, video, generators(1))
    )
    own = {"clean_caption": False} if base.row.family == "latte" else {}
    frames = "video_length" if base.row.family == "latte" else "num_frames"
    expected = base.pipeline(
        prompt=PROMPTS[0].prompt,
        negative_prompt="blue",
        width=video.width,
        height=video.height,
        num_inference_steps=video.inference_steps,
        guidance_scale=video.guidance_scale,
        latents=noise,
        generator=generators(1),
        output_type="latent",
        return_dict=False,
        **{frames: video.num_frames},
        **own,
    )[0]
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_every_frame_depends_on_every_latent_frame(base: BaseModel) -> None:
    video = with_defaults(Video(), base.row)
    conditions = base.conditions(PROMPTS[:1], video)
    noise = torch.randn(base.latents_shape(video, batch=1), dtype=torch.float64)
    changed = noise.clone()
    changed[:, :, 0] += 0.5
    before, after = (
        rollout.generate(rollout.Batch(base, conditions, one, video, generators(1)))
        for one in (noise, changed)
    )
    assert ((before - after).abs().amax(dim=(0, 1, 3, 4)) > 1e-6).all()


def test_all_blocks_together_hold_most_of_the_denoiser(base: BaseModel) -> None:
    blocks = base.family.blocks(base.denoiser)
    inside = sum(p.numel() for block in blocks for p in block.parameters())
    assert len({id(block) for block in blocks}) == len(blocks)
    assert inside > 0.6 * sum(p.numel() for p in base.denoiser.parameters())
