"""What NFT, DPO and best-of-n fine-tuning share as learners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vader_core.methods.benches import CONSTANT, gradient, learner, weights
from tests.vader_core.test_main import at_step, sigterm
from tests.vader_core.tiny_models import NAMES
from tests.vader_core.trainer import Trainer, figures
from vader_core.methods.learner import Learner

METHODS = ["nft", "dpo", "sft_best"]
STEPS = 2


def regression_learner(name: str = "tiny-wan", kind: str = "nft", **changes: Any) -> Learner:
    """Eight videos a step in two groups; without limit on the gradient's norm."""
    method = {
        "type": kind,
        "batch_size": 4,
        "gradient_accumulation": 2,
        "group_size": 4,
        "max_grad_norm": 1e9,
        "learning_rate": 1e-3,
    }
    return learner(
        base_model=name,
        method={**method, **changes.pop("method", {})},
        video={"inference_steps": STEPS, "guidance_scale": 3.0},
        **changes,
    )


def resumed(made: Learner, folder: Path, kind: str) -> Learner:
    """Another learner that goes on where `made` stands."""
    folder.mkdir()
    made.bench.save(folder)
    other = regression_learner(kind=kind)
    other.bench.restore(folder)
    other.load_state_dict(made.state_dict())
    return other


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_a_step_learns_and_tells_what_it_did(name: str, kind: str) -> None:
    made = regression_learner(name, kind)
    before, forwards = weights(made), made.bench.base.denoiser_forwards
    result = made.step(0)
    assert not torch.equal(weights(made), before)
    assert result.grad_norm == pytest.approx(float(gradient(made).norm()), rel=1e-4)
    assert result.grad_norm > 0
    assert result.reward_queries == 8
    assert len(result.total_B) == 8
    assert result.figures["ranked_groups"] == 2
    # Sampling takes 8 videos * 2 steps * 2 branches. A learnt video's step takes 4 with checkpoints, and
    # what it is compared with 1 each: the old policy and the base model; the adapter and the base model.
    learning = {"nft": 8 * 6, "dpo": 4 * 6, "sft_best": 2 * 4}[kind] * STEPS
    assert made.bench.base.denoiser_forwards - forwards == 8 * STEPS * 2 + learning


@pytest.mark.parametrize("kind", METHODS)
def test_a_constant_reward_teaches_nothing(kind: str) -> None:
    made = regression_learner(
        kind=kind, rewards=CONSTANT, method={"prediction_penalty": 1.0, "weight_decay": 0.1}
    )
    before = weights(made)
    for number in range(2):
        result = made.step(number)
        assert result.figures == {"ranked_groups": 0.0}
        assert (result.loss, result.penalty, result.grad_norm) == (0, 0, 0)
    assert torch.equal(weights(made), before)


@pytest.mark.parametrize("kind", METHODS)
def test_with_learning_rate_0_nothing_moves(kind: str) -> None:
    made = regression_learner(kind=kind, method={"learning_rate": 0.0, "weight_decay": 0.1})
    before = weights(made)
    assert made.step(0).grad_norm > 0
    assert torch.equal(weights(made), before)


@pytest.mark.parametrize("kind", METHODS)
def test_groups_may_span_micro_batches(kind: str) -> None:
    """The videos, their noise and what is learnt of them do not depend on the micro-batches."""
    whole, parts = (
        regression_learner(
            kind=kind,
            method={
                "batch_size": size,
                "gradient_accumulation": 8 // size,
                "learning_rate": 0.0,
                "prediction_penalty": 0.5,
                # At most 1, where the tiny models' rounding is not blown up by the preference's slope.
                **({"beta": 1.0} if kind == "dpo" else {}),
            },
        )
        for size in (4, 1)
    )
    assert parts.step(0).loss == pytest.approx(whole.step(0).loss, rel=1e-3)
    torch.testing.assert_close(gradient(parts), gradient(whole), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("kind", METHODS)
def test_one_video_per_call_teaches_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = {"learning_rate": 0.0, **({"beta": 1.0} if kind == "dpo" else {})}
    together = regression_learner(kind=kind, method=method)
    result = together.step(0)
    alone = regression_learner(kind=kind, method=method)
    monkeypatch.setattr(alone.bench.base.family, "one_video_per_call", True)
    assert alone.step(0).loss == pytest.approx(result.loss, rel=1e-3)
    torch.testing.assert_close(gradient(alone), gradient(together), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("kind", METHODS)
def test_the_prediction_penalty_counts_into_the_loss(kind: str) -> None:
    fixed = {"learning_rate": 0.0, **({"kl_weight": 0.0} if kind == "nft" else {})}
    plain = regression_learner(kind=kind, method=fixed).step(0)
    penalised = regression_learner(kind=kind, method={**fixed, "prediction_penalty": 3.0}).step(0)
    assert plain.penalty == 0
    assert penalised.penalty > 0
    assert penalised.loss == pytest.approx(plain.loss + 3 * penalised.penalty, rel=1e-5)


@pytest.mark.parametrize("kind", METHODS)
def test_a_resumed_learner_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    alone = regression_learner(kind=kind)
    for number in range(3):
        last = alone.step(number)
    first = regression_learner(kind=kind)
    first.step(0)
    first.step(1)
    second = resumed(first, tmp_path / "after-2", kind)
    assert second.step(2).loss == last.loss
    assert torch.equal(weights(second), weights(alone))
    for name, tensor in alone.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor)


def test_a_resumed_run_ends_as_the_run_left_alone(tmp_path: Path) -> None:
    job: dict[str, Any] = {
        "base_model": "tiny-wan",
        "method": {"type": "nft", "group_size": 2, "train_steps": 1, "old_policy_decay_rise": 0.3},
        "adapter": {"dropout": 0.2},
    }
    (tmp_path / "alone").mkdir()
    (tmp_path / "stopped").mkdir()
    alone, stopped = Trainer(tmp_path / "alone"), Trainer(tmp_path / "stopped")
    assert alone("--threads", "1", **job)[0] == 0
    stopped("--threads", "1", then=at_step(2, sigterm), **job)
    assert stopped("--threads", "1", "--resume", **job)[0] == 0
    file = "adapter/adapter_model.safetensors"
    assert (stopped.out / file).read_bytes() == (alone.out / file).read_bytes()
    assert figures(stopped.out / "metrics.jsonl") == figures(alone.out / "metrics.jsonl")
