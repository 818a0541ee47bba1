from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.vader_core.conformance import models_stable_video_diffusion as models
from tests.vader_core.conformance.suite import Conformance, Subject
from vader_core.rollout import Batch, generate

# diffusers' Euler scheduler hands a tensor to numpy in a way that numpy means to refuse one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class TestStableVideoDiffusion(Conformance):
    build = models.build
    # The pipeline rounds decoded frames to float32.
    tolerance = 1e-5

    @staticmethod
    def frames_of(output: Any) -> torch.Tensor:
        frames: torch.Tensor = output
        return frames

    def test_a_video_does_not_depend_on_those_beside_it(self, subject: Subject) -> None:
        """Its first image's noise, too, is its own."""
        step_noise = [torch.Generator().manual_seed(i) for i in range(2)]
        both = generate(
            Batch(subject.base, subject.conditions, subject.noise, subject.video, step_noise)
        )
        alone = generate(
            Batch(
                subject.base,
                subject.conditions.each()[1],
                subject.noise[1:],
                subject.video,
                step_noise[1:],
            )
        )
        assert torch.allclose(both[1:], alone, atol=1e-6)


class TestStableVideoDiffusionInClips(TestStableVideoDiffusion):
    build = models.build_clips
