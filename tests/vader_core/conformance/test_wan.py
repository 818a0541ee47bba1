from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.vader_core.conformance import models_wan
from tests.vader_core.conformance.suite import Conformance
from vader_core import adapter as adapters
from vader_core import base_models
from vader_core.base_models import BaseModel
from vader_core.devices import Compute
from vader_core.resolve import with_defaults
from vader_core.spec import Adapter, Video


class OfWan(Conformance):
    # The pipelines hold latents and timesteps in float32 whatever the transformer computes in.
    tolerance = 5e-6


class TestWan21(OfWan):
    build = models_wan.build


class TestWan22Experts(OfWan):
    build = models_wan.build_experts


class TestWan22ExpandedTimesteps(OfWan):
    build = models_wan.build_expanded


class TestWan21Image(OfWan):
    build = models_wan.build_image


class TestWan22ImageExperts(OfWan):
    build = models_wan.build_image_experts


class TestWan22ImageExpandedTimesteps(OfWan):
    build = models_wan.build_image_expanded


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    row = models_wan.build_experts(tmp_path_factory.mktemp("experts"))
    return base_models.load(row, Compute(torch.device("cpu"), torch.float32))


@pytest.mark.parametrize(
    ("steps", "learning"),
    [(1, ("transformer_2",)), (2, ("transformer", "transformer_2"))],
)
def test_the_experts_that_the_last_steps_call_learn(
    experts: BaseModel, steps: int, learning: tuple[str, ...]
) -> None:
    video = with_defaults(Video(), experts.row)
    trained = experts.family.trained(experts.pipeline, video, differentiable_steps=steps)
    assert trained == learning


def test_an_adapter_of_one_expert_leaves_the_other_alone(tmp_path: Path) -> None:
    row = models_wan.build_experts(tmp_path)
    base = base_models.load(row, Compute(torch.device("cpu"), torch.float32))
    adapter = adapters.attach(base, Adapter(rank=2), seed=1, denoisers=("transformer_2",))
    assert {name.split("/")[0] for name, _ in adapter.parameters()} == {"transformer_2"}
    assert not any(p.requires_grad for p in base.pipeline.transformer.parameters())
