"""The sampler computes what the published one does, and behaves as a diffusers pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.vader_core.conformance import models_open_sora
from tests.vader_core.pipelines.open_sora import published
from vader_core.pipelines.open_sora import OpenSoraPipeline

PROMPTS = ["a red circle moving left", "a blue square"]
SIZE = {"height": 12, "width": 20, "num_frames": 10}
FEW: dict[str, Any] = {**SIZE, "num_inference_steps": 3, "output_type": "latent"}


@pytest.fixture(scope="module")
def pipeline() -> OpenSoraPipeline:
    return models_open_sora.pipeline()


def noise(videos: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn((videos, 4, 6, 3, 5), generator=generator, dtype=dtype)


def test_a_guided_sample_equals_plain_euler_steps() -> None:
    """Two windows of 5 frames are 6 latent frames; the unconditional text is as long as the prompt."""
    pipeline = models_open_sora.pipeline(torch.float64)
    weights = pipeline.transformer.state_dict()
    embeds, mask = pipeline.encode_prompt(PROMPTS)
    latents = pipeline(PROMPTS, **FEW, guidance_scale=3.0, latents=noise(2, torch.float64)).frames
    for video in range(2):
        kept = mask[video].bool()
        null = weights["y_embedder.y_embedding"][kept]

        def velocity(
            x: torch.Tensor,
            time: float,
            texts: tuple[torch.Tensor, ...] = (embeds[video][kept], null),
        ) -> torch.Tensor:
            cond, uncond = (
                published.denoiser(
                    weights,
                    x,
                    published.Condition(time, text, 24, 12, 20),
                    heads=2,
                    base_size=16,
                )
                for text in texts
            )
            return uncond + 3.0 * (cond - uncond)

        plain = published.sampled(
            velocity, noise(2, torch.float64)[video], steps=3, pixels=240, latent_frames=6
        )
        # The scheduler keeps latents in float32 between the steps.
        assert torch.allclose(latents[video], plain, atol=1e-4)


def test_timesteps_are_the_published_transform(pipeline: OpenSoraPipeline) -> None:
    pipeline(PROMPTS[0], **FEW)
    expected = [
        1000 * published.transformed(t, pixels=240, latent_frames=6) for t in (1, 2 / 3, 1 / 3)
    ]
    assert np.allclose(pipeline.scheduler.timesteps, expected, rtol=1e-5)
    pipeline(PROMPTS[0], **{**FEW, "num_frames": 1})
    expected = [
        1000 * published.transformed(t, pixels=240, latent_frames=1) for t in (1, 2 / 3, 1 / 3)
    ]
    assert np.allclose(pipeline.scheduler.timesteps, expected, rtol=1e-5)


def test_a_folder_gives_the_same_video(pipeline: OpenSoraPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["transformer"][0] == "vader_core.pipelines.open_sora.transformer"
    again = OpenSoraPipeline.from_pretrained(tmp_path, local_files_only=True)
    again.set_progress_bar_config(disable=True)
    videos = [
        one(PROMPTS, **{**FEW, "output_type": "pt"}, latents=noise(2)).frames
        for one in (pipeline, again)
    ]
    assert torch.allclose(*videos, atol=1e-4)
    assert videos[0].shape == (2, 10, 3, 12, 20)


def test_the_undecorated_call_keeps_the_graph(pipeline: OpenSoraPipeline) -> None:
    embeds, mask = pipeline.encode_prompt(PROMPTS)
    arguments = {**FEW, "prompt_attention_mask": mask, "latents": noise(2)}
    embeds = embeds.detach().requires_grad_()
    assert not pipeline(prompt_embeds=embeds, **arguments).frames.requires_grad
    undecorated = OpenSoraPipeline.__call__.__wrapped__
    (latents,) = undecorated(pipeline, prompt_embeds=embeds, **arguments, return_dict=False)
    (gradient,) = torch.autograd.grad(latents.square().sum(), embeds)
    assert gradient[mask.bool()].abs().sum() > 0
    assert not gradient[~mask.bool()].any()


def test_embeddings_stand_for_texts_and_a_negative_prompt_for_the_models_own(
    pipeline: OpenSoraPipeline,
) -> None:
    embeds, mask = pipeline.encode_prompt(PROMPTS)
    negative, negative_mask = pipeline.encode_prompt(["moving up"] * 2)
    start = {**FEW, "latents": noise(2)}
    by_text = pipeline(PROMPTS, negative_prompt="moving up", **start).frames
    by_embeds = pipeline(
        prompt_embeds=embeds,
        prompt_attention_mask=mask,
        negative_prompt_embeds=negative,
        negative_prompt_attention_mask=negative_mask,
        **start,
    ).frames
    assert torch.equal(by_text, by_embeds)
    assert not torch.allclose(by_text, pipeline(PROMPTS, **start).frames)
    mixed = pipeline(PROMPTS, negative_prompt=["moving up", ""], **start).frames
    assert torch.allclose(mixed[0], by_text[0], atol=1e-5)
    assert torch.allclose(mixed[1], pipeline(PROMPTS, **start).frames[1], atol=1e-5)
    without = pipeline(PROMPTS, negative_prompt="moving up", guidance_scale=1.0, **start).frames
    assert torch.equal(without, pipeline(PROMPTS, guidance_scale=1.0, **start).frames)


def test_what_the_model_is_told_reaches_it(pipeline: OpenSoraPipeline) -> None:
    start = {**FEW, "latents": noise(1)}
    first = pipeline(PROMPTS[:1], **start).frames
    assert not torch.allclose(first, pipeline(PROMPTS[:1], fps=8, **start).frames)
    embeds, _ = pipeline.encode_prompt(PROMPTS[0], aesthetic_score=None)
    ids = pipeline.tokenizer(PROMPTS[0]).input_ids
    assert torch.allclose(
        embeds[:, : len(ids)],
        pipeline.text_encoder(torch.tensor([ids])).last_hidden_state,
        atol=1e-5,
    )


def test_the_callback_sees_every_step_and_may_change_the_latents(
    pipeline: OpenSoraPipeline,
) -> None:
    seen = []

    def halve(_: Any, step: int, timestep: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append((step, round(timestep.item())))
        return {"latents": tensors["latents"] / 2} if step == 2 else {}

    start = {**FEW, "latents": noise(1)}
    changed = pipeline(PROMPTS[:1], callback_on_step_end=halve, **start).frames
    assert torch.equal(changed * 2, pipeline(PROMPTS[:1], **start).frames)
    assert seen == [(i, round(t.item())) for i, t in enumerate(pipeline.scheduler.timesteps)]


def test_sizes_come_by_name_and_videos_in_every_form(pipeline: OpenSoraPipeline) -> None:
    small = {**FEW, "num_inference_steps": 1, "guidance_scale": 1.0, "num_frames": 1}
    generator = torch.Generator().manual_seed(0)
    named = {**small, "height": None, "resolution": "240p", "aspect_ratio": "1:1"}
    assert pipeline(PROMPTS[0], **named, generator=generator).frames.shape == (1, 4, 1, 80, 80)
    video = pipeline(PROMPTS[0], **{**small, "output_type": "np"}).frames
    assert video.shape == (1, 1, 12, 20, 3)
    assert 0 <= video.min() <= video.max() <= 1
    (images,) = pipeline(PROMPTS[0], **{**small, "output_type": "pil"}, return_dict=False)
    assert [image.size for image in images[0]] == [(20, 12)]


def test_a_lora_in_diffusers_layout_loads(pipeline: OpenSoraPipeline) -> None:
    start = {**FEW, "latents": noise(1)}
    before = pipeline(PROMPTS[:1], **start).frames
    place = "transformer.temporal_blocks.1.attn.qkv"
    pipeline.load_lora_weights(
        {f"{place}.lora_A.weight": torch.ones(2, 24), f"{place}.lora_B.weight": torch.ones(72, 2)}
    )
    try:
        assert not torch.allclose(before, pipeline(PROMPTS[:1], **start).frames)
    finally:
        pipeline.unload_lora_weights()
    assert torch.equal(before, pipeline(PROMPTS[:1], **start).frames)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 14}, "multiples of 4"),
        ({"num_frames": 0}, "at least one frame"),
        ({"prompt": None}, "`prompt_embeds`"),
        ({"height": None, "resolution": "4k"}, "240p, 360p, 480p, 720p"),
        ({"height": None, "aspect_ratio": "wide"}, "height:width"),
        ({"negative_prompt_embeds": torch.zeros(1, 3, 12)}, "are to be equal"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    pipeline: OpenSoraPipeline, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline(**{"prompt": PROMPTS[0], **FEW, **changes})
