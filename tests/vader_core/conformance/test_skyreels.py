from __future__ import annotations

from tests.vader_core.conformance import models_wan
from tests.vader_core.conformance.suite import Conformance


class TestSkyReels(Conformance):
    build = models_wan.build_skyreels
    # The pipeline holds latents and timesteps in float32 whatever the transformer computes in.
    tolerance = 5e-6


class TestSkyReelsImage(Conformance):
    build = models_wan.build_skyreels_image
    tolerance = 5e-6
