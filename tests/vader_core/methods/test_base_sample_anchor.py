from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vader_core.conformance import models_wan
from tests.vader_core.methods.benches import gradient, learner
from tests.vader_core.tiny_models import NAMES
from vader_core import rollout
from vader_core.catalogue import BUILT_IN, Catalogue
from vader_core.methods.base_sample_anchor import anchor_to_base_samples, learning_steps
from vader_core.methods.learner import Learner
from vader_core.methods.noising import Noised, finished
from vader_core.methods.step_choice import drawn_steps
from vader_core.methods.videos import batch_of


def reward_gradient_learner(name: str = "tiny-wan", **method: Any) -> Learner:
    return learner(base_model=name, method={"batch_size": 2, "gradient_accumulation": 2, **method})


def anchored(made: Learner, videos: range, weight: float) -> float:
    return anchor_to_base_samples(made.bench, made.spec, step=0, videos=videos, weight=weight)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_error_on_the_base_models_own_videos(name: str) -> None:
    made = reward_gradient_learner(name)
    videos = range(2)
    batch, prompts = batch_of(made.bench, made.spec, step=0, videos=videos)
    with made.bench.adapter.disabled():
        trajectory = rollout.record(batch)
    every = range(trajectory.process.steps)
    steps = drawn_steps(made.spec, every, step=0, index=0, count=1)
    own = finished(trajectory, videos=videos, prompts=prompts)
    looked_at = Noised(made.bench, made.spec, own, step=0, steps=steps, purpose="anchor")
    expected = float(looked_at.errors_KB().mean())
    assert anchored(made, videos, 3.0) == pytest.approx(3 * expected, rel=1e-4)


def test_its_gradient_is_the_micro_batchs_share() -> None:
    made = reward_gradient_learner()
    anchored(made, range(2), 1.0)
    half = gradient(made).clone()
    assert half.norm() > 0
    made.bench.optimiser.forget_gradients()
    anchored(made, range(2), 3.0)
    torch.testing.assert_close(gradient(made), 3 * half, rtol=1e-4, atol=1e-7)
    alone = reward_gradient_learner(gradient_accumulation=1)
    anchored(alone, range(2), 1.0)
    torch.testing.assert_close(gradient(alone), 2 * half, rtol=1e-4, atol=1e-7)


def test_the_base_model_itself_is_anchored_where_it_is() -> None:
    """Small steps down the anchor's gradient bring the adapted model's error nearer to the base model's."""
    made = reward_gradient_learner()
    before = anchored(made, range(2), 1.0)
    made.bench.optimiser.update(learning_rate=1e-4)
    assert anchored(made, range(2), 1.0) < before


def test_no_step_of_an_expert_without_an_adapter_is_drawn(tmp_path: Path) -> None:
    """Of three steps, the first two are the expert's that learns only when they carry gradient."""
    row = models_wan.build_experts(tmp_path)
    catalogue = Catalogue(base_models={row.id: row}, rewards=BUILT_IN.rewards)
    video = {"width": None, "height": None, "num_frames": None, "inference_steps": 3}
    for reach, learning in ((1, [2]), (2, [0, 1, 2])):
        method = {"batch_size": 1, "gradient_accumulation": 1, "differentiable_steps": reach}
        made = learner(catalogue, base_model=row.id, method=method, video=video)
        assert list(learning_steps(made.bench, made.spec, of=3)) == learning
    assert anchored(made, range(1), 1.0) > 0
