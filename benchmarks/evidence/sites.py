"""Where a reward's gradient may enter the denoising: the variants that are compared."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from benchmarks.evidence.cells import Cell

Changes = dict[str, JsonValue]

FULL_SITE = "all 10"
_ONE_STEP: Changes = {"step_choice": "random", "differentiable_steps": 1}
# What reward gradients run through, as changes of the method's settings.
SITES: dict[str, Changes] = {
    "last 1": {"differentiable_steps": 1},
    "last 2": {"differentiable_steps": 2},
    "last 4": {"differentiable_steps": 4},
    "all 10": {"differentiable_steps": 10},
    "random step": _ONE_STEP,
    "random truncation": {"step_choice": "random_last", "differentiable_steps": 10},
    "last 4, input detached": {"differentiable_steps": 4, "detach_input": True},
    "last step, 2 redraws": {"differentiable_steps": 1, "path": "last_step_redraws"},
    "clean prediction": {**_ONE_STEP, "path": "clean_prediction"},
    "leap from random depth": {**_ONE_STEP, "path": "leap"},
    "direct align": {**_ONE_STEP, "path": "direct_align"},
    "last 4, one random frame": {
        "differentiable_steps": 4,
        "frames": {"mode": "random", "n": 1},
    },
}
# The sites that say how flow matching and noise prediction differ, and a reward of frames and one of motion.
_SITES_OF_BOTH_MODELS = (
    "last 1",
    "last 2",
    "last 4",
    "all 10",
    "random step",
    "leap from random depth",
)
SITE_TASKS = ("preference", "action")
# A reward of motion cannot score a single frame.
_TASKS_OF_WHOLE_VIDEOS = ("action",)
_SITES_OF_SINGLE_FRAMES = ("last 4, one random frame",)


def sites_of(task: str, base_model: str) -> list[str]:
    """The labels of the sites that are tried at a task with a base model."""
    whole = task in _TASKS_OF_WHOLE_VIDEOS
    short = whole or base_model == "tiny-unet"
    return [
        label
        for label in SITES
        if not (whole and label in _SITES_OF_SINGLE_FRAMES)
        and not (short and label not in _SITES_OF_BOTH_MODELS)
    ]


@dataclass(frozen=True)
class Place:
    """Where gradients are compared: at the base model, or at the adapter that `trained` ended with."""

    task: str
    base_model: str
    trained: Cell | None = None

    @property
    def file_name(self) -> str:
        at = "base" if self.trained is None else self.trained.run
        return f"{self.task}-{self.base_model}-{at}.json"
