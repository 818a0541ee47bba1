from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vader_core.conformance import models_generic
from tests.vader_core.conformance.suite import Conformance, Subject
from vader_core import base_models
from vader_core.devices import Compute
from vader_core.errors import WeightsUnreadable
from vader_core.families import family_of
from vader_core.families.family import STACKED, UNGUIDED
from vader_core.spec import Video
from vader_core.tiny.tokenizers import CONTEXT

CPU = Compute(torch.device("cpu"), torch.float32)


class OfGeneric(Conformance):
    # The pipelines' loops round latents and predictions to float32.
    tolerance = 1e-5

    @staticmethod
    def plain_arguments(subject: Subject, arguments: dict[str, Any]) -> dict[str, Any]:
        del subject
        return {**arguments, "max_sequence_length": CONTEXT}


class TestSanaVideo(OfGeneric):
    build = models_generic.build_sana
    # This pipeline also rounds the autoencoder's mean and deviation to float32, and this small
    # autoencoder's gradient is steep.
    tolerance = 1e-4


class TestSanaVideoDecodedAtOnce(OfGeneric):
    build = models_generic.build_sana_whole


class TestAnyFlow(OfGeneric):
    build = models_generic.build_any_flow
    # Its scheduler maps any noise level to any other in one step, by a kind of prediction of its own.
    revisitable = False


def test_guidance_is_found_out_from_the_calls(tmp_path: Path) -> None:
    base = base_models.load(models_generic.build_any_flow(tmp_path), CPU)
    for scale, calls in ((4.0, STACKED), (1.0, UNGUIDED)):
        assert base.family.calls(base.pipeline, Video(guidance_scale=scale)) == calls


def test_looking_into_a_pipeline_draws_no_random_number_and_changes_nothing(tmp_path: Path) -> None:
    row = models_generic.build_any_flow(tmp_path)
    base = base_models.load(row, CPU)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    base.family.prepare(base.pipeline, row)
    assert torch.equal(torch.rand(3), expected)
    assert "forward" not in vars(base.denoiser)
    assert "step" not in vars(base.pipeline.scheduler)


def test_a_pipeline_whose_call_fails_is_refused_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnreadable, match="more than one video is not yet supported"):
        base_models.load(models_generic.build_vace(tmp_path), CPU)


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    row = models_generic.build_any_flow(tmp_path)
    pipeline = base_models.load(row, CPU).pipeline

    class Misfit(type(pipeline)):  # type: ignore[misc]
        def __call__(self, prompt: str, num_frames: int, latents: torch.Tensor) -> None:
            """Of another form."""

        def encode_prompt(self, prompt: str, device: Any) -> torch.Tensor:
            embeds: torch.Tensor = self.text_encoder(prompt)[0]
            return embeds

    pipeline.__class__ = Misfit
    changed = row.model_copy(update={"needs_image": True})
    with pytest.raises(WeightsUnreadable) as caught:
        family_of(row).prepare(pipeline, changed)
    for part in ("guidance_scale", "height", "negative_prompt", "first images", "by name"):
        assert part in caught.value.message


def test_frames_that_are_not_the_pipelines_own_are_refused(tmp_path: Path) -> None:
    row = models_generic.build_sana_whole(tmp_path)
    pipeline = base_models.load(row, CPU).pipeline
    plain = pipeline.video_processor.postprocess_video
    pipeline.video_processor.postprocess_video = lambda video, **kwargs: (
        0.9 * plain(video, **kwargs)
    )
    with pytest.raises(WeightsUnreadable, match="frames differ"):
        family_of(row).prepare(pipeline, row)
