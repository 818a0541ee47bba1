from __future__ import annotations

from pathlib import Path

import torch

from tests.vader_core.methods.benches import learner
from tests.vader_core.methods.resuming import ends_of
from vader_core.methods.advantages import PromptStatistics
from vader_core.methods.ddpo import DdpoLearner
from vader_core.prompts import prompt_id

METHOD = {
    "type": "ddpo",
    "batch_size": 2,
    "gradient_accumulation": 1,
    "train_steps": 1,
    "updates_per_step": 2,
    "statistics_window": 3,
    "statistics_min": 2,
}


def test_a_resumed_run_ends_as_the_run_left_alone(tmp_path: Path) -> None:
    # Two training prompts, so that every step after the first is measured by remembered rewards.
    prompts = [
        {
            "prompt": f"a red {shape} moving left",
            "target": "moving left",
            "heldout": shape == "ring",
        }
        for shape in ("circle", "square", "ring")
    ]
    job = {
        "base_model": "tiny-unet",
        "method": METHOD,
        "prompts": {"inline": prompts},
        "video": {"inference_steps": 3},
    }
    alone = ends_of(tmp_path / "alone", interrupted_after=None, **job)
    assert ends_of(tmp_path / "resumed", interrupted_after=2, **job) == alone


def test_videos_are_measured_by_what_their_prompt_earned_before() -> None:
    made = learner(
        base_model="tiny-wan",
        method={**METHOD, "gradient_accumulation": 2, "group_size": 2, "updates_per_step": 1},
        video={"inference_steps": 3},
        prompts={
            "inline": [
                {"prompt": "a red circle moving up", "target": "moving up"},
                {"prompt": "a blue circle moving up", "target": "moving up", "heldout": True},
            ]
        },
    )
    assert isinstance(made, DdpoLearner)
    (name,) = [prompt_id(prompt) for prompt in made.bench.prompts]
    seen = PromptStatistics(window=3, least=2)
    for number in range(2):
        result = made.step(number)
        expected_B = seen.advantages(result.total_B, [name] * 4)
        seen.add(result.total_B, [name] * 4)
        assert result.figures["advantage_std"] == float(expected_B.std(correction=0)) > 0
    state = made.state_dict()
    assert torch.equal(state[name], result.total_B[1:].double())
    assert state.keys() == seen.state_dict().keys()
