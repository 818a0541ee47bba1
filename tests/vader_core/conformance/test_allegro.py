from __future__ import annotations

from typing import Any

import pytest

from tests.vader_core.conformance import models_allegro
from tests.vader_core.conformance.suite import Conformance, Subject, make_subject, step_noise
from vader_core.tiny.tokenizers import CONTEXT

# diffusers' Euler scheduler hands a tensor to numpy in a way that numpy means to refuse one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class TestAllegro(Conformance):
    build = models_allegro.build
    stochastic = True

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory: pytest.TempPathFactory) -> Subject:
        folder = tmp_path_factory.mktemp("allegro")
        subject = make_subject(models_allegro.build(folder), folder / "images", cls.dtype)
        models_allegro.shrink_tiles(subject.pipeline.vae)
        # The autoencoder decodes by tiles or not at all, and one video at a time.
        subject.pipeline.vae.enable_tiling()
        subject.pipeline.vae.enable_slicing()
        return subject

    @staticmethod
    def plain_arguments(subject: Subject, arguments: dict[str, Any]) -> dict[str, Any]:
        del subject
        return {
            **arguments,
            "generator": step_noise("steps"),
            "clean_caption": False,
            "max_sequence_length": CONTEXT,
        }
