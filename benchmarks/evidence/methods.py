"""The methods' settings, all tuned alike: one grid of learning rates and one more setting each.

Every method samples the same number of videos in all; a step of the gradient-free methods has twice the
videos of a step of reward gradients, because groups need several videos of one prompt. What is not tuned is
as published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

TUNING_FILE = Path(__file__).with_name("tuning.json")
LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
TUNING_TASK = "preference"
# Not among the seeds of the comparison.
TUNING_SEED = 100

_COMMON: dict[str, JsonValue] = {
    "batch_size": 8,
    # The tiny models fit in memory as they are.
    "gradient_checkpointing": False,
    "decode_chunk_frames": 144,
}
_STEP_OF_16: dict[str, JsonValue] = {**_COMMON, "gradient_accumulation": 2, "train_steps": 5}
METHODS: dict[str, dict[str, JsonValue]] = {
    "reward_gradient": {
        **_COMMON,
        "type": "reward_gradient",
        "gradient_accumulation": 1,
        "differentiable_steps": 4,
        "prediction_penalty": 0.3,
    },
    "ddpo": {**_STEP_OF_16, "type": "ddpo"},
    "grpo": {**_STEP_OF_16, "type": "grpo", "group_size": 8},
    "nft": {**_STEP_OF_16, "type": "nft", "group_size": 8},
    "dpo": {**_STEP_OF_16, "type": "dpo", "group_size": 4},
    "sft_best": {**_STEP_OF_16, "type": "sft_best", "group_size": 4},
}


# One more setting of each method that is tried at its best learning rate: what its authors vary, or what they
# chose for models whose figures are of another size.
KNOBS: dict[str, dict[str, JsonValue]] = {
    "reward_gradient": {"differentiable_steps": 1},
    "ddpo": {"updates_per_step": 2, "clip_range": 1e-3},
    "grpo": {"flow_sampler": "ddim"},
    "nft": {"beta": 0.1},
    "dpo": {"beta": 200.0},
    "sft_best": {"weighting": "softmax"},
}


class Tuning(BaseModel):
    """The held-out reward at the end of each trial, by method and trial; None for one that diverged.

    `chosen` has the settings to be changed, for the methods whose trials are complete.
    """

    model_config = ConfigDict(extra="forbid")

    task: str
    seed: int
    queries: int
    base_reward: float
    results: dict[str, dict[str, float | None]]
    chosen: dict[str, dict[str, JsonValue]]


def rate_trial(rate: float) -> str:
    return f"{rate:g}"


def knob_trial(method: str, rate: float) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in KNOBS[method].items())
    return f"{rate_trial(rate)}, {settings}"


def tuned(method: str, tuning: Tuning, **changes: JsonValue) -> dict[str, JsonValue]:
    """The method's settings as they were chosen, with `changes`."""
    return {**METHODS[method], **tuning.chosen[method], **changes}


def best_rate(results: Mapping[str, float | None]) -> float | None:
    """The learning rate with the highest held-out reward; None before all were tried, or where all diverged."""
    found = {rate: results.get(rate_trial(rate)) for rate in LEARNING_RATES}
    if any(rate_trial(rate) not in results for rate in LEARNING_RATES):
        return None
    known = {rate: reward for rate, reward in found.items() if reward is not None}
    return max(known, key=lambda rate: known[rate]) if known else None


def choose(results: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, JsonValue]]:
    """For every method whose trials are complete, the settings with the highest held-out reward."""
    chosen: dict[str, dict[str, JsonValue]] = {}
    for method, by_trial in results.items():
        rate = best_rate(by_trial)
        if rate is None or knob_trial(method, rate) not in by_trial:
            continue
        plain, other = by_trial[rate_trial(rate)], by_trial[knob_trial(method, rate)]
        assert plain is not None
        knob = KNOBS[method] if other is not None and other > plain else {}
        chosen[method] = {"learning_rate": rate, **knob}
    return chosen


def read_tuning(path: Path = TUNING_FILE) -> Tuning | None:
    """What `tune` found, or None where it has not run."""
    if not path.exists():
        return None
    return Tuning.model_validate_json(path.read_text(encoding="utf-8"))


def write_tuning(tuning: Tuning, path: Path = TUNING_FILE) -> None:
    path.write_text(json.dumps(tuning.model_dump(), indent=2) + "\n", encoding="utf-8")
