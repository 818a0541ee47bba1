from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.vader_core.trainer import Trainer, of_type, small_spec
from vader_core import lines
from vader_core.methods.videos import micro_batches, training_prompts
from vader_core.spec import JobSpec


def steps_of(folder: Path, **method: Any) -> list[lines.Step]:
    status, seen = Trainer(folder)(
        budget={"max_steps": 2},
        method=method,
        # A reward whose training climbs the score itself: the loss is then minus the reward.
        rewards=[{"reward": "tiny-text-match"}],
        evaluation={"num_prompts": 1, "seeds": [1], "samples_to_keep": 0},
    )
    assert status == 0
    return of_type(seen, lines.Step)


def test_every_video_of_a_run_has_a_number_of_its_own() -> None:
    spec = JobSpec.model_validate(
        small_spec(method={"batch_size": 3, "gradient_accumulation": 2, "learning_rate": 1e-3})
    )
    videos = [
        video for step in range(4) for part in micro_batches(spec, step=step) for video in part
    ]
    assert videos == list(range(24))
    prompts = spec.prompts.inline or []
    shown = training_prompts(spec, prompts[:6], range(12))
    assert sorted(p.prompt for p in shown[:6]) == sorted(p.prompt for p in shown[6:])


def test_accumulated_micro_batches_are_one_large_batch(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = steps_of(tmp_path / "a", batch_size=4, gradient_accumulation=1)
    parts = steps_of(tmp_path / "b", batch_size=2, gradient_accumulation=2)
    # AdamW's first update is nearly the gradient's sign and so magnifies rounding.
    for one, other, tolerance in zip(whole, parts, (1e-3, 2e-2), strict=True):
        assert one.reward == pytest.approx(other.reward, rel=tolerance)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=tolerance)
        assert one.reward_queries == other.reward_queries


def test_the_penalty_starts_at_nothing_and_counts_into_the_loss(tmp_path: Path) -> None:
    first, second = steps_of(tmp_path, prediction_penalty=3.0, learning_rate=1e-2)
    assert first.penalty == 0
    assert second.penalty > 0
    assert second.loss == pytest.approx(-second.reward + 3 * second.penalty, rel=1e-5)
