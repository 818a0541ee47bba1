"""Open-Sora 1.2 keeps what every base model keeps."""

from __future__ import annotations

from tests.vader_core.conformance import models_open_sora
from tests.vader_core.conformance.suite import Conformance


class TestOpenSora(Conformance):
    build = staticmethod(models_open_sora.build)
