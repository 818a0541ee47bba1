"""Open-Sora's unconditional branch: the denoiser's own text, or a negative prompt in its place."""

from __future__ import annotations

import pytest
import torch

from tests.vader_core.conformance import models_open_sora
from tests.vader_core.conformance.suite import Subject, make_subject
from vader_core.families.family import Request


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("open_sora")
    row = models_open_sora.build(folder)
    return make_subject(row, folder / "images", torch.float64)


def made(subject: Subject, **changes: object) -> torch.Tensor:
    base = subject.base
    for name, part in subject.text_encoders.items():
        setattr(base.pipeline, name, part)
    video = subject.video.model_copy(update=changes)
    with torch.no_grad():
        return base.run(base.conditions(subject.prompts, video), subject.noise, video)


def test_a_negative_prompt_and_the_frame_rate_reach_the_denoiser(subject: Subject) -> None:
    plain = made(subject)
    negative = made(subject, negative_prompt="moving up")
    call = subject.pipeline(
        [prompt.prompt for prompt in subject.prompts],
        negative_prompt="moving up",
        height=subject.video.height,
        width=subject.video.width,
        num_frames=subject.video.num_frames,
        num_inference_steps=subject.video.inference_steps,
        guidance_scale=subject.video.guidance_scale,
        fps=subject.video.fps,
        latents=subject.noise.double(),
        output_type="latent",
    )
    assert torch.allclose(negative, call.frames, atol=1e-5)
    assert not torch.allclose(negative, plain, atol=1e-3)
    assert not torch.allclose(made(subject, fps=30), plain, atol=1e-3)


def test_without_a_negative_prompt_the_pipeline_fills_in_the_models_own(subject: Subject) -> None:
    base = subject.base
    request = Request(subject.conditions, subject.noise, subject.video, {})
    assert not [name for name in base.family.call(base.pipeline, request) if "negative" in name]
    null = subject.conditions.uncond["prompt_embeds"][0]
    assert torch.equal(null, subject.pipeline.transformer.null_caption)


def test_latents_come_in_windows(subject: Subject) -> None:
    shape = subject.base.latents_shape(subject.video, batch=2)
    assert shape == (2, 4, 6, 3, 5)
