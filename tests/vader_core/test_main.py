"""The command `train`, called in this process: what it writes, how it stops, how it goes on."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from PIL import Image

from tests.vader_core.trainer import Then, Trainer, of_type
from vader_core import lines
from vader_core.catalogue import TINY_WEIGHTS
from vader_core.lines import AnyLine, parse


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(tmp_path)


def at_step(step: int, action: Callable[[], None]) -> Then:
    """Calls `action` once the line of that step was sent."""

    def then(line: AnyLine) -> None:
        if isinstance(line, lines.Step) and line.step == step:
            action()

    return then


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class WholeRun(NamedTuple):
    """The folder and the lines of a run that nothing disturbed."""

    out: Path
    seen: list[AnyLine]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    trainer = Trainer(tmp_path_factory.mktemp("whole"))
    status, seen = trainer(evaluation={"every_steps": 2})
    assert status == 0
    return WholeRun(trainer.out, seen)


def test_a_run_says_what_it_does_in_order(whole_run: WholeRun) -> None:
    out, seen = whole_run
    phases = [line.phase for line in of_type(seen, lines.Phase)]
    training_twice = ["training", "evaluating", "training", "evaluating", "exporting"]
    assert phases == ["loading", "evaluating_base", *training_twice]
    assert [line.step for line in of_type(seen, lines.Step)] == [1, 2, 3]
    assert [line.path for line in of_type(seen, lines.Checkpoint)] == [
        "checkpoints/step-000002",
        "checkpoints/step-000003",
    ]
    evaluations = of_type(seen, lines.EvaluationDone)
    assert [(line.kind, line.step) for line in evaluations] == [
        ("base", 0),
        ("periodic", 2),
        ("final", 3),
    ]
    done = seen[-1]
    assert isinstance(done, lines.Done)
    assert (done.stop_reason, done.verdict) == ("completed_steps", evaluations[-1].verdict)
    metrics = (out / "metrics.jsonl").read_text().splitlines()
    kept = [type(parse(text)) for text in metrics]
    assert kept.count(lines.Step) == kept.count(lines.EvaluationDone) == len(kept) / 2 == 3


def test_its_figures_belong_together(whole_run: WholeRun) -> None:
    _, seen = whole_run
    base, _, final = of_type(seen, lines.EvaluationDone)
    assert base.heldout_reward == final.baseline_heldout_reward == final.difference.base
    assert final.difference.delta == pytest.approx(final.heldout_reward - base.heldout_reward)
    assert final.per_reward["tiny-action"].delta == pytest.approx(final.difference.delta)
    low, high = final.difference.delta_ci95
    assert low < final.difference.delta < high
    assert [guard.reward for guard in final.guards] == [
        "diversity@1",
        "motion@1",
        "tiny-text-match@1",
    ]
    # 2 prompts under 2 seeds, each video scored by one reward and three guards.
    assert [line.evaluation_queries for line in (base, final)] == [16, 48]
    last = of_type(seen, lines.Step)[-1]
    assert last.reward_queries == 6
    stages = last.stage_seconds.model_dump()
    assert all(seconds > 0 for seconds in stages.values())
    assert last.seconds / 2 < sum(stages.values()) <= last.seconds


def test_its_files_are_those_that_its_lines_name(whole_run: WholeRun) -> None:
    out, seen = whole_run
    named = [line.file for line in of_type(whole_run, (lines.Sample, lines.Sheet))]  # type: ignore[arg-type]
    named += of_type(seen, lines.Checkpoint)[-1].files + of_type(seen, lines.Done)[0].files
    for file in named:
        data = (out / file.path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size_bytes, file.sha256)
    samples = of_type(seen, lines.Sample)
    assert {sample.pair for sample in samples if sample.role == "base"} == {
        sample.pair for sample in samples if sample.role == "adapter"
    }
    # Two videos are kept of each model: one of each of two prompts, not two of one.
    assert len({sample.prompt for sample in samples}) == 2
    with av.open(str(out / samples[0].file.path)) as container:
        assert container.streams.video[0].frames == 3
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 300


def test_the_card_tells_the_result_and_its_code_loads_the_adapter(whole_run: WholeRun) -> None:
    out, seen = whole_run
    text = (out / "adapter/README.md").read_text()
    final = of_type(seen, lines.EvaluationDone)[-1]
    assert str(final.verdict).replace("_", " ") in text
    assert f"{final.difference.delta:+.4g}" in text
    assert "<svg" in (out / "adapter/reward_curve.svg").read_text()
    assert frames_by_the_card(out / "adapter", "tiny-unet").shape == (3, 16, 16, 3)


def test_the_code_on_the_card_of_a_wan_adapter_loads_it_too(trainer: Trainer) -> None:
    evaluation = {"num_prompts": 1, "seeds": [1], "samples_to_keep": 1}
    status, _ = trainer(base_model="tiny-wan", budget={"max_steps": 1}, evaluation=evaluation)
    assert status == 0
    assert frames_by_the_card(trainer.out / "adapter", "tiny-wan").shape == (3, 16, 16, 3)


def frames_by_the_card(adapter: Path, base_model: str) -> np.ndarray:
    """The video that the code on the card makes, as a reader would run it."""
    code = re.findall(r"```python\n(.*?)```", (adapter / "README.md").read_text(), flags=re.DOTALL)[
        0
    ]
    code = code.replace("BASE", str(TINY_WEIGHTS / base_model)).replace("ADAPTER", str(adapter))
    names: dict[str, Any] = {}
    exec(code, names)
    frames: np.ndarray = names["frames"]
    return frames


def test_sigterm_interrupts_after_the_step_and_the_run_goes_on_from_there(trainer: Trainer) -> None:
    status, seen = trainer(then=at_step(1, sigterm))
    assert status == 3
    assert isinstance(seen[-1], lines.Interrupted)
    assert seen[-1].step == 1
    assert of_type(seen, lines.Checkpoint)[-1].path == "checkpoints/step-000001"
    status, seen = trainer("--resume")
    assert status == 0
    assert of_type(seen, lines.Started)[0].resumed_from == 1
    assert [line.step for line in of_type(seen, lines.Step)] == [2, 3]


def test_sigterm_in_the_base_evaluation_leaves_nothing_behind(trainer: Trainer) -> None:
    def then(line: AnyLine) -> None:
        if isinstance(line, lines.Sample):
            sigterm()

    status, seen = trainer(then=then)
    assert status == 3
    assert not of_type(seen, lines.Checkpoint)
    assert not of_type(seen, lines.EvaluationDone)


def test_a_cancelled_run_exports_without_a_final_evaluation(trainer: Trainer) -> None:
    status, seen = trainer(then=at_step(2, lambda: trainer.stop_file("cancelled")))
    assert status == 0
    done = seen[-1]
    assert isinstance(done, lines.Done)
    assert (done.stop_reason, done.verdict, done.step) == ("cancelled", None, 2)
    assert [line.kind for line in of_type(seen, lines.EvaluationDone)] == ["base"]
    assert (trainer.out / "adapter/adapter_model.safetensors").exists()
    assert "before a final evaluation" in (trainer.out / "adapter/README.md").read_text()


def test_a_run_that_is_cancelled_before_its_first_step_has_nothing_to_export(
    trainer: Trainer,
) -> None:
    def then(line: AnyLine) -> None:
        if isinstance(line, lines.Sample):
            trainer.stop_file("cancelled")

    status, seen = trainer(then=then)
    assert (status, seen[-1].type) == (3, "interrupted")
    assert not (trainer.out / "adapter").exists()


def test_a_run_ended_at_a_ceiling_from_outside_is_evaluated(trainer: Trainer) -> None:
    status, seen = trainer(then=at_step(2, lambda: trainer.stop_file("deadline")))
    assert status == 0
    done = seen[-1]
    assert isinstance(done, lines.Done)
    assert (done.stop_reason, done.step) == ("deadline", 2)
    assert done.verdict is not None


@pytest.mark.parametrize(
    ("budget", "options", "reason", "steps"),
    [
        ({"max_reward_queries": 5}, [], "reward_queries", 2),
        ({"max_reward_queries": 5}, ["--spent-reward-queries", "2"], "reward_queries", 1),
        ({"max_wall_clock_s": 100}, ["--spent-wall-clock-s", "99"], "wall_clock", 0),
        ({"max_gpu_seconds": 100}, ["--spent-gpu-seconds", "99"], "gpu_seconds", 0),
        ({"deadline_at": "2026-01-01T00:00:00Z"}, [], "deadline", 0),
        ({"max_cost": {"amount": "1"}}, ["--cost-gpu-seconds", "1"], "cost", 0),
    ],
)
def test_a_ceiling_is_a_normal_end(
    trainer: Trainer, budget: dict[str, Any], options: list[str], reason: str, steps: int
) -> None:
    evaluation = {"num_prompts": 1, "seeds": [1]}
    status, seen = trainer(*options, budget=budget, evaluation=evaluation)
    done = seen[-1]
    assert isinstance(done, lines.Done)
    assert (status, done.stop_reason, done.step) == (0, reason, steps)
    assert done.verdict == "no_clear_difference"


def test_without_a_rise_it_stops_early(trainer: Trainer) -> None:
    status, seen = trainer(
        budget={"max_steps": 30},
        method={"learning_rate": 0.0},
        evaluation={"every_steps": 1, "num_prompts": 1, "seeds": [1]},
        early_stop={"patience_evals": 2},
    )
    done = seen[-1]
    assert isinstance(done, lines.Done)
    assert (status, done.stop_reason, done.step) == (0, "early_stop", 2)


def test_a_checkpoint_folder_is_enough_to_go_on_elsewhere(trainer: Trainer) -> None:
    trainer(then=at_step(2, sigterm))
    elsewhere = trainer.folder / "elsewhere"
    shutil.copytree(trainer.out / "checkpoints", elsewhere / "checkpoints")
    trainer.out = elsewhere
    status, seen = trainer("--resume")
    assert status == 0
    assert [line.step for line in of_type(seen, lines.Step)] == [3]
    kept = [parse(text) for text in (elsewhere / "metrics.jsonl").read_text().splitlines()]
    assert [line.step for line in kept if isinstance(line, lines.Step)] == [1, 2, 3]
    # The base rows of the sheet were made again.
    assert len(list((elsewhere / "samples").glob("*-base.mp4"))) == 2
    assert (elsewhere / "sheet.png").exists()


def test_a_corrupt_checkpoint_gives_way_to_the_one_before(trainer: Trainer) -> None:
    trainer(budget={"max_steps": 5}, then=at_step(4, sigterm))
    weights = trainer.out / "checkpoints/step-000004/adapter/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    status, seen = trainer("--resume", budget={"max_steps": 5})
    assert status == 0
    assert [line.code for line in of_type(seen, lines.Warned)] == ["checkpoint_corrupt"]
    assert of_type(seen, lines.Started)[0].resumed_from == 2


def test_a_checkpoint_of_another_training_is_refused(trainer: Trainer) -> None:
    trainer(then=at_step(1, sigterm))
    status, seen = trainer("--resume", seed=6)
    assert status == 2
    assert isinstance(seen[-1], lines.Failed)
    assert "another training" in seen[-1].message


def test_rewards_scaled_by_the_base_models_spread_keep_their_scales_when_resumed(
    trainer: Trainer,
) -> None:
    names = ("tiny-text-match", "tiny-action")
    both = [{"reward": name, "scale": "base"} for name in names]
    job = {"rewards": both, "checkpoints": {"every_steps": 2}, "budget": {"max_steps": 3}}
    status, whole = trainer(**job)
    assert status == 0
    shutil.rmtree(trainer.out / "checkpoints" / "step-000003")
    (trainer.out / "adapter" / "README.md").unlink()
    status, resumed = trainer("--resume", **job)
    assert status == 0
    (before,), (after,) = (
        [line for line in of_type(seen, lines.Step) if line.step == 3] for seen in (whole, resumed)
    )
    assert after.loss == before.loss
    state = json.loads((trainer.out / "checkpoints/step-000002/state.json").read_text())
    scales, scores = state["scales"], state["base_scores"]["rewards"]
    assert set(scales) == set(names)
    for name in names:
        assert scales[name]["score"] == statistics.pstdev(scores[name])
    # Training climbs the logarithm of the action's probability, which has a spread of its own.
    assert scales["tiny-text-match"]["objective"] == scales["tiny-text-match"]["score"]
    assert scales["tiny-action"]["objective"] > 2 * scales["tiny-action"]["score"]
    base = of_type(whole, lines.EvaluationDone)[0]
    samples = [line for line in of_type(whole, lines.Sample) if line.role == "base"]
    assert len(samples) == 2
    assert base.heldout_reward == pytest.approx(
        sum(statistics.fmean(scores[name]) / scales[name]["score"] for name in names)
    )


def test_a_folder_with_a_run_in_it_is_not_overwritten(trainer: Trainer) -> None:
    trainer(then=at_step(1, sigterm))
    status, seen = trainer()
    assert status == 2
    assert isinstance(seen[-1], lines.Failed)
    assert "--resume" in seen[-1].hint
    assert seen[-1].last_checkpoint == "checkpoints/step-000001"


def test_a_cost_ceiling_without_a_price_is_told(trainer: Trainer) -> None:
    _, seen = trainer(
        budget={"max_steps": 1, "max_cost": {"amount": "1"}},
        evaluation={"num_prompts": 1, "seeds": [1]},
    )
    codes = [line.code for line in of_type(seen, lines.Warned)]
    assert codes == ["cost_not_priced", "too_few_heldout_prompts"]
