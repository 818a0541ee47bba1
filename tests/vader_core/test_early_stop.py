"""The early stop: which evaluations count as good, and a run that goes back to one of them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.vader_core.trainer import Trainer, figures, of_type
from vader_core import lines
from vader_core.early_stop import Standing, chosen_among, is_worth_keeping, standing
from vader_core.lines import AnyLine
from vader_core.spec import EarlyStop, Guard, JobSpec
from vader_core.state import Evaluated, TrainState

GUARDS = [Guard(reward="motion@1"), Guard(reward="tiny-text-match@1")]


def evaluations(*means: float, watched: int | None = None) -> list[Evaluated]:
    """Every second step's, by the held-out reward or by the guard with the number `watched`."""
    made = []
    for number, mean in enumerate(means):
        guards = [0.0, 0.0]
        if watched is not None:
            guards[watched] = mean
        reward = mean if watched is None else -mean
        made.append(
            Evaluated(step=2 * number, heldout_reward=reward, guards=guards, guards_held=True)
        )
    return made


def guarded(*held: bool) -> list[Evaluated]:
    return [
        Evaluated(step=2 * number, heldout_reward=number, guards=[1.0, 1.0], guards_held=ok)
        for number, ok in enumerate(held)
    ]


@pytest.mark.parametrize(
    ("means", "step", "since"),
    [
        ([0.1], 0, 0),
        ([0.1, 0.2, 0.3], 4, 0),
        ([0.3, 0.2], 0, 1),
        ([0.3, 0.2, 0.3], 0, 2),
        ([0.3, 0.2, 0.31], 0, 2),
        ([0.3, 0.2, 0.36], 4, 0),
        ([0.1, 0.3, 0.32, 0.34], 2, 2),
        ([-0.3, -0.2, -0.1, -0.4], 4, 1),
    ],
)
def test_good_is_what_clearly_beats_the_best_before(
    means: list[float], step: int, since: int
) -> None:
    by_reward = EarlyStop(min_delta=0.05)
    assert standing(evaluations(*means), by_reward, GUARDS) == Standing(step, since)
    unseen = EarlyStop(metric="unseen_reward", reward="tiny-text-match@1", min_delta=0.05)
    assert standing(evaluations(*means, watched=1), unseen, GUARDS) == Standing(step, since)


@pytest.mark.parametrize(
    ("held", "step", "since"),
    [
        ([True], 0, 0),
        ([True, True, True], 4, 0),
        ([True, True, False, False], 2, 2),
        ([True, False, True, False], 4, 1),
        ([True, False, False], 0, 2),
    ],
)
def test_by_the_guards_good_is_where_all_of_them_held(
    held: list[bool], step: int, since: int
) -> None:
    assert standing(guarded(*held), EarlyStop(metric="guards"), GUARDS) == Standing(step, since)


def test_only_the_best_by_a_reward_was_chosen_by_scores() -> None:
    progress = TrainState(
        training_hash="", continuation_hash="", versions={}, evaluations=evaluations(1, 3, 2, 1)
    )
    unseen = EarlyStop(metric="unseen_reward", reward="motion@1")
    assert chosen_among(progress, unseen) == 3
    assert chosen_among(progress, EarlyStop(metric="guards")) == 1


def test_an_early_stop_by_the_held_out_reward_keeps_no_adapter() -> None:
    progress = TrainState(
        training_hash="", continuation_hash="", versions={}, evaluations=guarded(True, True)
    )
    spec = JobSpec.model_validate(
        {
            "base_model": "tiny-unet",
            "rewards": [{"reward": "tiny-action"}],
            "prompts": {"inline": [{"prompt": "x"}]},
            "budget": {"max_steps": 1},
            "evaluation": {"every_steps": 1},
            "guards": [{"reward": "motion"}],
        }
    )
    by = {
        metric: spec.model_copy(update={"early_stop": EarlyStop.model_validate(fields)})
        for metric, fields in {
            "heldout_reward": {},
            "guards": {"metric": "guards"},
            "unseen_reward": {"metric": "unseen_reward", "reward": "motion"},
        }.items()
    }
    assert not is_worth_keeping(progress, spec)
    assert not is_worth_keeping(progress, by["heldout_reward"])
    assert is_worth_keeping(progress, by["guards"])
    # The second evaluation's motion is as the first's: no better.
    assert not is_worth_keeping(progress, by["unseen_reward"])


# The guard's mean rises by about 0.014, then, at half the learning rate, by 0.006: the second evaluation
# is not good.
STOPPING: dict[str, Any] = {
    "budget": {"max_steps": 3},
    "method": {"learning_rate": 3e-3, "lr_schedule": "linear"},
    "evaluation": {"every_steps": 1},
    "checkpoints": {"every_steps": 1, "keep_last": 9},
    "guards": [{"reward": "motion"}],
    "early_stop": {
        "metric": "unseen_reward",
        "reward": "motion",
        "patience_evals": 1,
        "min_delta": 0.01,
    },
}


def test_a_run_goes_back_to_the_last_good_adapter_and_so_does_a_resumed_one(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    alone = Trainer(tmp_path / "alone")
    status, seen = alone(**STOPPING)
    done = seen[-1]
    assert isinstance(done, lines.Done)
    assert (status, done.stop_reason, done.step) == (0, "early_stop", 2)
    final = of_type(seen, lines.EvaluationDone)[-1]
    assert (final.kind, final.step, final.adapter_step) == ("final", 2, 1)
    told = [line for line in of_type(seen, lines.Warned) if line.code == "adapter_restored"]
    assert [line.step for line in told] == [2]
    assert "motion@1 went back to the adapter of step 1" in told[0].message
    exported = (alone.out / "adapter/adapter_model.safetensors").read_bytes()
    kept, last = (alone.out / f"checkpoints/step-00000{step}/adapter" for step in (1, 2))
    assert exported == (kept / "adapter_model.safetensors").read_bytes()
    assert exported != (last / "adapter_model.safetensors").read_bytes()
    lineage = json.loads((alone.out / "adapter/lineage.json").read_text())
    assert (lineage["steps"], lineage["adapter_step"]) == (2, 1)
    assert "the adapter is that of step 1" in (alone.out / "adapter/README.md").read_text()

    # The score of the kept adapter is that of its own periodic evaluation: it is the very same one.
    periodic = next(line for line in of_type(seen, lines.EvaluationDone) if line.step == 1)
    assert final.heldout_reward == periodic.heldout_reward

    (tmp_path / "resumed").mkdir()
    resumed = Trainer(tmp_path / "resumed")
    status, _ = resumed(**STOPPING, then=interrupt_after_step_2)
    assert status == 3
    # What it goes back to is no longer in the process that goes on.
    assert load_file(resumed.out / "checkpoints/step-000002/kept.safetensors")
    status, _ = resumed("--resume", **STOPPING)
    assert status == 0
    assert (resumed.out / "adapter/adapter_model.safetensors").read_bytes() == exported
    assert figures(resumed.out / "metrics.jsonl") == figures(alone.out / "metrics.jsonl")


def test_a_run_that_is_over_stays_so_when_it_is_resumed_without_time(tmp_path: Path) -> None:
    """Interrupted in its final evaluation, it still goes back: no ceiling comes before the early stop."""

    def interrupt_once_it_went_back(line: AnyLine) -> None:
        if isinstance(line, lines.Warned) and line.code == "adapter_restored":
            signal.raise_signal(signal.SIGTERM)

    job = {**STOPPING, "budget": {"max_steps": 3, "max_wall_clock_s": 5000}}
    trainer = Trainer(tmp_path)
    status, seen = trainer(then=interrupt_once_it_went_back, **job)
    assert status == 3
    told = [
        (type(line), line.step)
        for line in seen
        if isinstance(line, lines.Checkpoint | lines.EvaluationDone) and line.step > 0
    ]
    kinds = (lines.EvaluationDone, lines.Checkpoint)
    assert told == [(kind, step) for step in (1, 2) for kind in kinds]
    state = json.loads((trainer.out / "checkpoints/step-000002/state.json").read_text())
    assert [evaluation["step"] for evaluation in state["evaluations"]] == [0, 1, 2]

    status, seen = trainer("--resume", "--spent-wall-clock-s", "4999", **job)
    done = seen[-1]
    assert isinstance(done, lines.Done)
    assert (status, done.stop_reason, done.step) == (0, "early_stop", 2)
    assert of_type(seen, lines.EvaluationDone)[-1].adapter_step == 1
    exported, kept = (
        (trainer.out / folder / "adapter_model.safetensors").read_bytes()
        for folder in ("adapter", "checkpoints/step-000001/adapter")
    )
    assert exported == kept


def interrupt_after_step_2(line: AnyLine) -> None:
    if isinstance(line, lines.Step) and line.step == 2:
        signal.raise_signal(signal.SIGTERM)


def test_a_run_whose_guards_break_ends_with_the_base_models_adapter(tmp_path: Path) -> None:
    """No adapter of a few steps has 100 times the base model's motion: the first evaluation breaks."""
    trainer = Trainer(tmp_path)
    status, seen = trainer(
        budget={"max_steps": 6},
        evaluation={"every_steps": 1, "num_prompts": 1, "seeds": [1]},
        guards=[{"reward": "motion", "min_ratio_to_base": 100}],
        early_stop={"metric": "guards", "patience_evals": 2},
    )
    done = seen[-1]
    assert isinstance(done, lines.Done)
    assert (status, done.stop_reason, done.step) == (0, "guard_violated", 2)
    final = of_type(seen, lines.EvaluationDone)[-1]
    assert final.adapter_step == 0
    assert final.heldout_reward == final.baseline_heldout_reward
    weights = load_file(trainer.out / "adapter/adapter_model.safetensors")
    assert all(not tensor.any() for name, tensor in weights.items() if ".lora_B." in name)
