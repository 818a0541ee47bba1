"""One training of the comparison: what it stands for, and its job spec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from benchmarks.evidence.tasks import TASKS, Task

Settings = Mapping[str, JsonValue]

EVALUATION_SEEDS = (11, 12)
# Measured along the way at every evaluation, trained on by nobody who is guarded by them: two measures of
# collapse, a reward that no task trains on, and whether the prompt is still shown.
GUARDS: tuple[dict[str, JsonValue], ...] = (
    {"reward": "diversity", "min_ratio_to_base": 0.7},
    {"reward": "motion", "min_ratio_to_base": 0.7},
    {"reward": "tiny-aesthetic", "max_drop": 0.5},
    {"reward": "tiny-text-match", "max_drop": 0.5},
)


@dataclass(frozen=True)
class Cell:
    """`label` names the method or the variant of it, `queries` is the budget of training queries; there is an
    evaluation after every `evaluate_every` of them."""

    study: str
    task: str
    label: str
    base_model: str
    seed: int
    queries: int
    evaluate_every: int
    method: Settings
    early_stop: Settings | None = None

    @property
    def spec(self) -> dict[str, JsonValue]:
        """The job spec. Cells with the same spec share one training, whatever study they belong to."""
        per_step = videos_per_step(self.method)
        spec: dict[str, JsonValue] = {
            "name": "evidence",
            "base_model": self.base_model,
            "method": dict(self.method),
            "adapter": {"type": "lora", "rank": 16, "alpha": 16},
            "rewards": [TASKS[self.task].reward],
            "guards": [dict(guard) for guard in GUARDS],
            "video": {"guidance_scale": TASKS[self.task].guidance_scale},
            # Some variants ask the reward more than once about a video.
            "budget": {
                "max_steps": self.queries // per_step,
                "max_reward_queries": self.queries,
            },
            "checkpoints": {"every_steps": 16, "keep_last": 1},
            "evaluation": {
                "every_steps": self.evaluate_every // per_step,
                "num_prompts": len(TASKS[self.task].heldout),
                "seeds": list(EVALUATION_SEEDS),
                "samples_to_keep": 0,
            },
            "seed": self.seed,
            "prompts": {"inline": prompts_of(TASKS[self.task])},
        }
        if self.early_stop is not None:
            spec["early_stop"] = dict(self.early_stop)
        return spec

    @property
    def run(self) -> str:
        """The name of the training's folder: readable, and different for every spec."""
        text = json.dumps(self.spec, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{self.base_model}-{self.task}-{self.method['type']}-s{self.seed}-{digest}"

    @property
    def title(self) -> str:
        return f"{self.study}: {self.label}, {self.task}, {self.base_model}, seed {self.seed}"


def videos_per_step(method: Settings) -> int:
    """The reward queries of one step: one reward scores every video once."""
    size, count = method["batch_size"], method["gradient_accumulation"]
    assert isinstance(size, int)
    assert isinstance(count, int)
    return size * count


def prompts_of(task: Task) -> list[JsonValue]:
    """The task's training and held-out prompts as a spec has them."""
    return [
        prompt.model_dump(mode="json", exclude_none=True)
        for prompt in (*task.training, *task.heldout)
    ]
