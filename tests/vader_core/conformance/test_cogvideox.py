from __future__ import annotations

from typing import Any

from tests.vader_core.conformance import models_cogvideox
from tests.vader_core.conformance.suite import Conformance, Subject, step_noise


class OfCogVideoX(Conformance):
    # The pipelines round every prediction to float32.
    tolerance = 5e-6


class TestCogVideoX2B(OfCogVideoX):
    build = models_cogvideox.build


class TestCogVideoX5B(OfCogVideoX):
    build = models_cogvideox.build_5b
    stochastic = True

    @staticmethod
    def plain_arguments(subject: Subject, arguments: dict[str, Any]) -> dict[str, Any]:
        """Its sampler adds noise."""
        del subject
        return {**arguments, "generator": step_noise("steps")}


class TestCogVideoX15(OfCogVideoX):
    build = models_cogvideox.build_15


class TestCogVideoX5BImage(OfCogVideoX):
    build = models_cogvideox.build_image


class TestCogVideoX15Image(OfCogVideoX):
    build = models_cogvideox.build_image_15
