"""What is shortened for the conformance checks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from diffusers import HunyuanVideo15ImageToVideoPipeline, HunyuanVideo15Pipeline


@pytest.fixture(scope="session", autouse=True)
def _short_texts() -> Iterator[None]:
    """The pipelines pad texts and images to 1,985 tokens, by numbers that no folder holds."""
    with pytest.MonkeyPatch.context() as patch:
        for pipeline_class in (HunyuanVideo15Pipeline, HunyuanVideo15ImageToVideoPipeline):
            patch.setattr(pipeline_class, "__init__", _shortened(pipeline_class.__init__))
        yield


def _shortened(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def shorter(self: Any, *args: Any, **parts: Any) -> None:
        build(self, *args, **parts)
        self.tokenizer_max_length = 24
        self.tokenizer_2_max_length = 32
        self.vision_num_semantic_tokens = 16

    return shorter
