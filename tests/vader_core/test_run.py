"""What a run encodes, and what it knows of time before it takes a step."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import pytest

import vader_core.run
from tests.vader_core.trainer import Trainer, of_type, small_spec
from vader_core import lines
from vader_core.ceilings import Used, reached
from vader_core.errors import SpecUnusable
from vader_core.lines import AnyLine, StopReason
from vader_core.methods.learner import StepResult
from vader_core.methods.reward_gradient import RewardGradientLearner
from vader_core.methods.videos import training_prompts
from vader_core.run import prompts_to_train_on
from vader_core.spec import Budget, JobSpec, Prompt

PROMPTS = [Prompt(prompt=f"prompt {i}") for i in range(10)]
ONE_PAIR = {"num_prompts": 1, "seeds": [1]}


@pytest.mark.parametrize(
    ("method", "max_steps", "count"),
    [
        ({}, 1, 2),
        ({}, 100, 10),
        ({"type": "grpo", "batch_size": 8, "group_size": 8}, 4, 4),
        ({"type": "grpo", "batch_size": 8, "group_size": 8}, 100, 10),
        ({"type": "grpo", "batch_size": 8, "group_size": 4}, 3, 6),
    ],
)
def test_the_prompts_to_train_on_are_those_of_the_runs_videos(
    method: dict[str, Any], max_steps: int, count: int
) -> None:
    spec = JobSpec.model_validate(
        small_spec(method=method, budget={"max_steps": max_steps}, seed=11)
    )
    used = [
        prompt.prompt for prompt in prompts_to_train_on(spec, PROMPTS, steps=spec.budget.max_steps)
    ]
    videos = range(max_steps * spec.method.videos_per_step)
    assert set(used) == {prompt.prompt for prompt in training_prompts(spec, PROMPTS, videos)}
    assert len(used) == count


def test_a_resumed_run_knows_how_long_a_step_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = RewardGradientLearner.step

    def slow(learner: RewardGradientLearner, number: int) -> StepResult:
        return dataclasses.replace(plain(learner, number), seconds=1000.0)

    def interrupt(line: AnyLine) -> None:
        if isinstance(line, lines.Step):
            signal.raise_signal(signal.SIGTERM)

    trainer = Trainer(tmp_path)
    job: dict[str, Any] = {
        "budget": {"max_steps": 3, "max_wall_clock_s": 5000},
        "evaluation": ONE_PAIR,
    }
    with monkeypatch.context() as slowly:
        slowly.setattr(RewardGradientLearner, "step", slow)
        status, _ = trainer(then=interrupt, **job)
    assert status == 3
    state = json.loads((trainer.out / "checkpoints/step-000001/state.json").read_text())
    assert state["recent_step_seconds"] == [1000.0]
    # 500 s are left: too few for a step of 1000 s.
    status, seen = trainer("--resume", "--spent-wall-clock-s", "4500", **job)
    done = seen[-1]
    assert isinstance(done, lines.Done)
    assert (status, done.stop_reason, done.step) == (0, "wall_clock", 1)


def test_before_a_periodic_evaluation_its_time_is_kept_back_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[int, bool]] = []

    def look(budget: Budget, used: Used, *, cost_gpu_seconds: float | None) -> StopReason | None:
        looks.append((used.steps, used.evaluation_due))
        return reached(budget, used, cost_gpu_seconds=cost_gpu_seconds)

    monkeypatch.setattr(vader_core.run, "reached", look)
    status, seen = Trainer(tmp_path)(evaluation={**ONE_PAIR, "every_steps": 2})
    assert status == 0
    assert len(of_type(seen, lines.EvaluationDone)) == 3
    # After the evaluation the ceilings are looked at again.
    assert looks[:4] == [(0, False), (1, False), (2, True), (2, False)]


def test_a_method_that_the_sampler_does_not_fit_is_told_before_the_base_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_learner: RewardGradientLearner) -> None:
        raise SpecUnusable("The sampler is of another kind.", hint="Take another.")

    monkeypatch.setattr(RewardGradientLearner, "check", refuse)
    status, seen = Trainer(tmp_path)()
    failed = seen[-1]
    assert isinstance(failed, lines.Failed)
    assert (status, failed.code) == (2, "spec_unusable")
    assert failed.message == "The sampler is of another kind."
    assert [line.phase for line in of_type(seen, lines.Phase)] == ["loading"]
