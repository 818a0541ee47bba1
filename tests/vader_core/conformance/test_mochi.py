from __future__ import annotations

import pytest

from tests.vader_core.conformance import models_mochi
from tests.vader_core.conformance.suite import Conformance


# The transformer asks for an autocast that a CPU does not have.
@pytest.mark.filterwarnings("ignore:In CPU autocast")
class TestMochi(Conformance):
    build = models_mochi.build
    # The pipeline samples in float32.
    tolerance = 5e-6
