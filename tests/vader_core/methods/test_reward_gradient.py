from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vader_core import plain_autograd
from tests.vader_core.tiny_models import Scene, gradients, scene, weighted_sum
from tests.vader_core.trainer import Trainer, figures, of_type, small_spec
from vader_core import lines
from vader_core.catalogue import BUILT_IN, RewardRow
from vader_core.method_spec import RewardGradient
from vader_core.methods import gradient_paths
from vader_core.methods.reward_gradient import RewardGradientLearner
from vader_core.methods.videos import batch_of
from vader_core.objective import Objective
from vader_core.optimiser import Optimiser
from vader_core.resolve import with_defaults
from vader_core.rewards import Term, WeightedSum
from vader_core.rollout import Batch, Rollout
from vader_core.spec import JobSpec, Prompt
from vader_core.workbench import Workbench

STEPS = 3
VARIANTS: dict[str, dict[str, Any]] = {
    "last": {},
    "random_last": {"step_choice": "random_last", "differentiable_steps": STEPS},
    "random": {"step_choice": "random", "differentiable_steps": 2},
    "even": {"step_choice": "even", "differentiable_steps": 2, "detach_input": True},
    "given": {"step_choice": "given", "given_steps": [1]},
    "clean_prediction": {"step_choice": "random", "path": "clean_prediction"},
    "leap": {"step_choice": "random", "path": "leap"},
    "last_step_redraws": {"path": "last_step_redraws"},
    "direct_align": {"step_choice": "random", "path": "direct_align"},
}
EVALUATION = {"num_prompts": 1, "seeds": [1], "samples_to_keep": 0}


@pytest.fixture(scope="module")
def tiny() -> Scene:
    return scene("tiny-wan", inference_steps=STEPS)


class Constant:
    """A reward that likes all videos alike."""

    row: RewardRow = BUILT_IN.rewards["tiny-text-match"]

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        del prompts
        return 0.7 + 0 * frames_BFCHW.flatten(1).sum(1)


def learner_of(tiny: Scene, reward: WeightedSum, **method: Any) -> RewardGradientLearner:
    document = small_spec(
        base_model="tiny-wan",
        video={"inference_steps": STEPS},
        method={"batch_size": 2, "gradient_accumulation": 2, "max_grad_norm": 1e9, **method},
    )
    spec = JobSpec.model_validate(document)
    spec = spec.model_copy(update={"video": with_defaults(spec.video, tiny.base.row)})
    assert spec.prompts.inline is not None
    bench = Workbench(
        tiny.base.compute,
        tiny.base,
        tiny.adapter,
        Optimiser(tiny.adapter.parameters(), spec.method),
        Objective(reward, guards=[]),
        spec.prompts.inline,
    )
    return RewardGradientLearner(bench, spec)


def weights(tiny: Scene) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for _, one in tiny.adapter.parameters()])


@pytest.mark.parametrize("variant", VARIANTS)
def test_with_a_constant_reward_nothing_is_learnt(tiny: Scene, variant: str) -> None:
    learner = learner_of(tiny, WeightedSum([Term(Constant(), 1.0)]), **VARIANTS[variant])
    before = weights(tiny)
    result = learner.step(0)
    assert result.grad_norm == 0
    assert result.total_B.tolist() == pytest.approx([0.7] * 4)
    assert torch.equal(weights(tiny), before)


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_a_learning_rate_nothing_moves(tiny: Scene, variant: str) -> None:
    learner = learner_of(
        tiny, weighted_sum(tiny_text_match=1.0), **{"learning_rate": 0.0, **VARIANTS[variant]}
    )
    before = weights(tiny)
    result = learner.step(0)
    assert result.grad_norm > 0
    assert torch.equal(weights(tiny), before)


@pytest.mark.parametrize("variant", ["last", "last_step_redraws"])
def test_queries_are_those_of_every_score(tiny: Scene, variant: str) -> None:
    reward = weighted_sum(tiny_text_match=1.0, tiny_preference=1.0)
    fields = {"noise_draws": 3, **VARIANTS[variant]}
    result = learner_of(tiny, reward, **fields).step(0)
    assert result.reward_queries == 4 * 2 * (3 if variant == "last_step_redraws" else 1)
    assert result.total_B.shape == (4,)


def test_a_step_is_the_mean_over_micro_batches_and_draws(tiny: Scene) -> None:
    """Against one graph from the scores of every draw to the adapter."""
    reward, draws = weighted_sum(tiny_text_match=1.0), 2
    fields = {"learning_rate": 0.0, "guidance_gradient": "both", "noise_draws": draws}
    learner = learner_of(tiny, reward, **fields, **VARIANTS["last_step_redraws"])
    result = learner.step(1)
    found = gradients(tiny.adapter)
    method = learner.spec.method
    assert isinstance(method, RewardGradient)
    scores = []
    for videos in (range(4, 6), range(6, 8)):
        batch, prompts = batch_of(learner.bench, learner.spec, step=1, videos=videos)
        steps = frozenset({STEPS - 1})
        for made in gradient_paths.rollouts(batch, method=method, steps=steps):
            frames_BFCHW = plain_autograd.decoded(tiny, made.latents_BCfHW)
            _, score = reward.score(frames_BFCHW, prompts, chunk_frames=frames_BFCHW.shape[1])
            total_B = reward.total(score)
            (-total_B.sum() / (4 * draws)).backward()
            scores.append(total_B.detach())
    expected = gradients(tiny.adapter)
    assert (found - expected).norm() < 1e-5 * expected.norm()
    means = torch.stack(scores).view(2, draws, 2).mean(1).flatten()
    assert torch.allclose(result.total_B.double(), means.double(), atol=1e-6)
    assert result.loss == pytest.approx(-means.mean().item(), rel=1e-6)


def test_steps_are_drawn_anew_for_every_micro_batch_and_the_same_again(
    tiny: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[frozenset[int]] = []
    rollouts = gradient_paths.rollouts

    def noted(batch: Batch, *, method: RewardGradient, steps: frozenset[int]) -> Iterator[Rollout]:
        drawn.append(steps)
        return rollouts(batch, method=method, steps=steps)

    monkeypatch.setattr(gradient_paths, "rollouts", noted)
    reward = weighted_sum(tiny_text_match=1.0)
    learner = learner_of(tiny, reward, learning_rate=0.0, step_choice="random")
    for number in (0, 1, 2, 0, 1, 2):
        learner.step(number)
    assert drawn[:6] == drawn[6:]
    assert len(set(drawn)) > 1
    assert all(len(steps) == 1 and steps <= set(range(STEPS)) for steps in drawn)


def test_choices_that_name_the_same_steps_give_the_same_gradient(tiny: Scene) -> None:
    reward = weighted_sum(tiny_text_match=1.0)
    same: list[dict[str, Any]] = [
        {"differentiable_steps": 2},
        {"step_choice": "given", "given_steps": [2, 1]},
        {"step_choice": "even", "differentiable_steps": 2, "step_range": (0.3, 1.0)},
    ]
    found = []
    for fields in same:
        learner_of(tiny, reward, learning_rate=0.0, **fields).step(0)
        found.append(gradients(tiny.adapter))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_the_base_models_own_samples_count_into_the_loss(tmp_path: Path) -> None:
    job = {
        "method": {"base_sample_weight": 0.5, "step_choice": "random"},
        "rewards": [{"reward": "tiny-text-match"}],
        "evaluation": EVALUATION,
    }
    status, seen = Trainer(tmp_path)(**job)
    assert status == 0
    for step in of_type(seen, lines.Step):
        assert step.figures["anchor_loss"] > 0
        assert step.loss == pytest.approx(-step.reward + step.figures["anchor_loss"], rel=1e-5)


@pytest.mark.parametrize("variant", ["random", "last_step_redraws"])
def test_resumed_it_ends_as_if_never_stopped(tmp_path: Path, variant: str) -> None:
    job: dict[str, Any] = {
        "method": {"gradient_accumulation": 2, "batch_size": 1, **VARIANTS[variant]},
        "video": {"inference_steps": STEPS},
        "budget": {"max_steps": 3},
        "adapter": {"rank": 2, "dropout": 0.2},
        "evaluation": EVALUATION,
    }
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, parts = Trainer(tmp_path / "whole"), Trainer(tmp_path / "parts")
    assert whole(**job)[0] == 0

    def stop(line: lines.AnyLine) -> None:
        if isinstance(line, lines.Step) and line.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    parts(**job, then=stop)
    resumed = of_type(parts("--resume", **job)[1], lines.Step)
    assert [line.step for line in resumed] == [2, 3]
    name = "adapter/adapter_model.safetensors"
    assert (parts.out / name).read_bytes() == (whole.out / name).read_bytes()
    assert [one for one in figures(parts.out / "metrics.jsonl") if one["type"] == "step"] == [
        one for one in figures(whole.out / "metrics.jsonl") if one["type"] == "step"
    ]
