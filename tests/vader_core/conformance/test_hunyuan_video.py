from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from tests.vader_core.conformance import models_hunyuan_video
from tests.vader_core.conformance.suite import Conformance, Subject


class OfHunyuanVideo(Conformance):
    # The pipelines hold noise and timesteps in float32.
    tolerance = 5e-6


class TestHunyuanVideo(OfHunyuanVideo):
    build = models_hunyuan_video.build


class TestHunyuanVideoGuided(OfHunyuanVideo):
    build = models_hunyuan_video.build_guided


class TestHunyuanVideoImage(OfHunyuanVideo):
    build = models_hunyuan_video.build_image


class TestHunyuanVideoImageJoined(OfHunyuanVideo):
    build = models_hunyuan_video.build_image_joined

    @staticmethod
    def returned(latents: torch.Tensor) -> torch.Tensor:
        """Without the first frame."""
        return latents[:, :, 1:]

    @staticmethod
    def plain_arguments(subject: Subject, arguments: dict[str, Any]) -> dict[str, Any]:
        """The pipeline makes one black image whatever the number of negative prompts, and then fails."""
        negative = {f"negative_{name}": rows for name, rows in subject.conditions.uncond.items()}
        return {**arguments, **negative, "negative_prompt": None}

    def test_the_negative_prompt_is_encoded_as_the_pipelines_call_does(
        self, subject: Subject
    ) -> None:
        pipeline, video = subject.pipeline, subject.video
        for name, part in subject.text_encoders.items():
            setattr(pipeline, name, part)
        black = Image.new("RGB", (video.width or 1, video.height or 1), 0)
        with torch.no_grad():
            embeds, pooled, mask = pipeline.encode_prompt(image=black, prompt="")
        subject.base.drop_text_encoders()
        negative = {name: rows[:1] for name, rows in subject.conditions.uncond.items()}
        assert torch.allclose(negative["prompt_embeds"], embeds)
        assert torch.allclose(negative["pooled_prompt_embeds"], pooled)
        assert torch.equal(negative["prompt_attention_mask"], mask)
