"""A run that pauses and goes on, with another budget too, ends as a run left alone: bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.vader_core.trainer import Trainer, figures, of_type
from vader_core import lines
from vader_core.lines import AnyLine
from vader_core.present_budget import Ceilings, PresentBudget, write_ceilings
from vader_core.spec import Budget

WEIGHTS = "adapter/adapter_model.safetensors"
SMALL: dict[str, Any] = {"evaluation": {"num_prompts": 1, "seeds": [1], "samples_to_keep": 0}}


def left_alone(folder: Path, **changes: Any) -> Trainer:
    folder.mkdir()
    trainer = Trainer(folder)
    status, seen = trainer(**SMALL, **changes)
    assert status == 0, seen[-1]
    return trainer


def test_a_ceiling_that_pauses_leaves_a_checkpoint_from_which_more_budget_goes_on(
    tmp_path: Path,
) -> None:
    whole = left_alone(tmp_path / "whole", budget={"max_steps": 5})
    trainer = Trainer(tmp_path)
    queries = whole.out / "metrics.jsonl"
    per_step = json.loads(queries.read_text().splitlines()[1])["reward_queries"]
    budget = {"max_steps": 5, "max_reward_queries": 2 * per_step, "on_exhausted": "pause"}
    status, seen = trainer(**SMALL, budget=budget)
    last = seen[-1]
    assert isinstance(last, lines.Interrupted)
    assert (status, last.ceiling, last.step) == (3, "reward_queries", 2)
    assert not (trainer.out / "adapter").exists()
    checkpoint = of_type(seen, lines.Checkpoint)[-1]
    assert (checkpoint.step, checkpoint.counters.reward_queries) == (2, 2 * per_step)
    status, seen = trainer(
        "--resume",
        **SMALL,
        name="raised",
        labels={"team": "ads"},
        checkpoints={"every_steps": 1},
        budget={**budget, "max_reward_queries": 100 * per_step},
    )
    assert status == 0
    assert of_type(seen, lines.Started)[0].resumed_from == 2
    assert (trainer.out / WEIGHTS).read_bytes() == (whole.out / WEIGHTS).read_bytes()
    assert figures(trainer.out / "metrics.jsonl") == figures(whole.out / "metrics.jsonl")


def test_a_ceiling_that_is_asked_for_from_outside_pauses_too(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)

    def stop(line: AnyLine) -> None:
        if isinstance(line, lines.Step):
            trainer.stop_file("wall_clock")

    status, seen = trainer(then=stop, **SMALL, budget={"max_steps": 5, "on_exhausted": "pause"})
    last = seen[-1]
    assert isinstance(last, lines.Interrupted)
    assert (status, last.ceiling, last.step) == (3, "wall_clock", 1)


def test_asked_steps_are_the_end_and_no_pause(tmp_path: Path) -> None:
    status, seen = Trainer(tmp_path)(**SMALL, budget={"max_steps": 1, "on_exhausted": "pause"})
    assert (status, seen[-1].type) == (0, "done")


def test_a_budget_raised_while_it_runs_is_the_one_that_counts(tmp_path: Path) -> None:
    """Also for prompts that only the later steps come to."""
    whole = left_alone(tmp_path / "whole", budget={"max_steps": 4}, method={"batch_size": 1})
    trainer = Trainer(tmp_path)

    def raise_budget(line: AnyLine) -> None:
        if isinstance(line, lines.Step) and line.step == 1:
            file = trainer.out / "budget.json"
            write_ceilings(file, Ceilings(budget=Budget(max_steps=4)))

    status, seen = trainer(
        then=raise_budget, **SMALL, budget={"max_steps": 2}, method={"batch_size": 1}
    )
    assert (status, seen[-1].step) == (0, 4)
    assert (trainer.out / WEIGHTS).read_bytes() == (whole.out / WEIGHTS).read_bytes()
    assert "4 of 4 (ended" in (trainer.out / "adapter/README.md").read_text()


def test_a_budget_raised_in_the_final_evaluation_counts_too(tmp_path: Path) -> None:
    whole = left_alone(tmp_path / "whole", budget={"max_steps": 4}, method={"batch_size": 1})
    trainer = Trainer(tmp_path)

    def raise_budget(line: AnyLine) -> None:
        if isinstance(line, lines.Phase) and line.phase == "evaluating":
            file = trainer.out / "budget.json"
            write_ceilings(file, Ceilings(budget=Budget(max_steps=4)))

    status, seen = trainer(
        then=raise_budget, **SMALL, budget={"max_steps": 2}, method={"batch_size": 1}
    )
    assert (status, seen[-1].step) == (0, 4)
    evaluations = of_type(seen, lines.EvaluationDone)
    assert [(line.kind, line.step) for line in evaluations] == [
        ("base", 0),
        ("final", 2),
        ("final", 4),
    ]
    assert (trainer.out / WEIGHTS).read_bytes() == (whole.out / WEIGHTS).read_bytes()


def test_an_end_that_was_asked_for_and_is_taken_back_is_none(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)

    def ask_and_take_back(line: AnyLine) -> None:
        if isinstance(line, lines.Step) and line.step == 1:
            trainer.stop_file("deadline")
        if isinstance(line, lines.Phase) and line.phase == "evaluating":
            (trainer.out / "stop.json").unlink(missing_ok=True)

    status, seen = trainer(then=ask_and_take_back, **SMALL, budget={"max_steps": 2})
    done = seen[-1]
    assert isinstance(done, lines.Done)
    assert (status, done.stop_reason, done.step) == (0, "completed_steps", 2)


def test_a_schedule_keeps_the_steps_of_the_spec(tmp_path: Path) -> None:
    """The rate has fallen to 0 by then: the steps beyond change nothing."""
    method = {"lr_schedule": "linear"}
    whole = left_alone(tmp_path / "whole", budget={"max_steps": 2}, method=method)
    trainer = Trainer(tmp_path)
    (trainer.out).mkdir()
    write_ceilings(trainer.out / "budget.json", Ceilings(budget=Budget(max_steps=3)))
    status, seen = trainer(**SMALL, budget={"max_steps": 2}, method=method)
    assert (status, seen[-1].step) == (0, 3)
    assert [line.learning_rate for line in of_type(seen, lines.Step)] == [1e-3, 5e-4, 0.0]
    assert (trainer.out / WEIGHTS).read_bytes() == (whole.out / WEIGHTS).read_bytes()


@pytest.mark.parametrize("text", ["", "{", '{"budget": {"max_steps": 0}}'])
def test_a_budget_that_is_not_whole_changes_nothing(tmp_path: Path, text: str) -> None:
    present = PresentBudget(tmp_path / "budget.json", Ceilings(budget=Budget(max_steps=7)))
    present.look()
    (tmp_path / "budget.json").write_text(text)
    present.look()
    assert present.budget.max_steps == 7
    write_ceilings(
        tmp_path / "budget.json", Ceilings(budget=Budget(max_steps=9), cost_gpu_seconds=3)
    )
    present.look()
    assert (present.budget.max_steps, present.cost_gpu_seconds) == (9, 3)
