from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.vader_core.conformance import models_ltx2
from tests.vader_core.conformance.suite import Conformance, Subject, make_subject
from vader_core.families.family import Request
from vader_core.tiny.tokenizers import CONTEXT


class OfLtx2(Conformance):
    # The pipeline's loop rounds latents and predictions to float32.
    tolerance = 1e-5
    revisitable = False

    @staticmethod
    def plain_arguments(subject: Subject, arguments: dict[str, Any]) -> dict[str, Any]:
        del subject
        return {**arguments, "max_sequence_length": CONTEXT}


class TestLtx2(OfLtx2):
    build = models_ltx2.build


class TestLtx2WithPerturbedCalls(OfLtx2):
    build = models_ltx2.build_perturbed


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("ltx2")
    return make_subject(models_ltx2.build(folder), folder / "images", torch.float32)


def audio_noise(subject: Subject, noise: torch.Tensor) -> torch.Tensor:
    """In the denoiser's scale."""
    request = Request(subject.conditions, noise, subject.video, subject.base.row.call)
    given = subject.base.family.call(subject.pipeline, request)["audio_latents"]
    return subject.pipeline.prepare_audio_latents(latents=given)  # type: ignore[no-any-return]


def test_a_videos_audio_noise_follows_from_its_own_noise_alone(subject: Subject) -> None:
    both = audio_noise(subject, subject.noise)
    assert torch.equal(both, audio_noise(subject, subject.noise))
    assert torch.equal(both.flip(0), audio_noise(subject, subject.noise.flip(0)))
    assert not torch.allclose(both[0], both[1])


def test_the_audio_noise_is_standard_normal_and_reaches_the_video(subject: Subject) -> None:
    many = torch.cat([audio_noise(subject, subject.noise + shift) for shift in range(20)])
    assert abs(float(many.mean())) < 0.15
    assert abs(float(many.std()) - 1) < 0.15
    before = subject.latents(differentiable_steps=1).detach()
    transformer = subject.pipeline.transformer
    handle = transformer.register_forward_pre_hook(
        lambda _module, _args, kwargs: (
            (),
            {**kwargs, "audio_hidden_states": -kwargs["audio_hidden_states"]},
        ),
        with_kwargs=True,
    )
    try:
        after = subject.latents(differentiable_steps=1).detach()
    finally:
        handle.remove()
    assert (before - after).abs().max() > 1e-4
