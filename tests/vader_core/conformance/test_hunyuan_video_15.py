from __future__ import annotations

from tests.vader_core.conformance import models_hunyuan_video_15
from tests.vader_core.conformance.suite import Conformance


class OfHunyuanVideo15(Conformance):
    # The pipelines hold timesteps in float32.
    tolerance = 5e-6


class TestHunyuanVideo15(OfHunyuanVideo15):
    build = models_hunyuan_video_15.build


class TestHunyuanVideo15Image(OfHunyuanVideo15):
    build = models_hunyuan_video_15.build_image
