"""Conformance of base models whose autoencoders see one frame: ModelScope's solver, VideoCrafter2, AnimateDiff, Latte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.vader_core.conformance import models_animatediff, models_latte, models_videocrafter
from tests.vader_core.conformance.suite import Conformance, Subject, step_noise
from vader_core.catalogue import BUILT_IN, BaseModelRow


class TestVideoCrafter(Conformance):
    build = models_videocrafter.build
    stochastic = True

    @staticmethod
    def plain_arguments(subject: Subject, arguments: dict[str, Any]) -> dict[str, Any]:
        # The pipeline's own sampler adds noise at every step.
        return {**arguments, "generator": step_noise("steps")}


class TestAnimateDiff(Conformance):
    build = models_animatediff.build
    tolerance = 1e-4  # the pipeline's decoding ends in float32


# The library's schedulers hand tensors to numpy in a way that numpy 2 complains of.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
class TestAnimateDiffInFewSteps(Conformance):
    build = models_animatediff.build_few_step
    tolerance = 1e-4


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
class TestModelScopesSolver(Conformance):
    """The paper samples ModelScope with DPM-Solver, whose steps use the prediction before the last, too."""

    tolerance = 1e-4

    @staticmethod
    def build(folder: Path) -> BaseModelRow:
        del folder  # the tiny UNet is of ModelScope's classes
        tiny = BUILT_IN.base_models["tiny-unet"]
        small = {"width": 16, "height": 16, "num_frames": 4, "inference_steps": 4}
        return tiny.model_copy(
            update={
                "scheduler": {"_class_name": "DPMSolverMultistepScheduler"},
                "defaults": tiny.defaults.model_copy(update=small),
            }
        )


class TestLatte(Conformance):
    build = models_latte.build
    tolerance = 1e-4  # the pipeline's decoding ends in float32

    @staticmethod
    def plain_arguments(subject: Subject, arguments: dict[str, Any]) -> dict[str, Any]:
        return {**arguments, "clean_caption": False}
