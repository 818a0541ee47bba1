"""What can be aligned and with what: base models and rewards as data. Free of torch.

The built-in rows are the tiny world. Operators add rows for the models they hold in a JSON file
(`Catalogue.load`): weights come from folders named there and from nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import JsonValue, model_validator

from vader_core.spec import Strict

TINY_WEIGHTS = Path(__file__).parent / "tiny" / "weights"


class SizeRule(Strict):
    """Legal video sizes: pixels in multiples of `multiple`; frames are `frames_multiple * k + frames_offset`."""

    multiple: int
    min_pixels: int
    max_pixels: int
    frames_multiple: int
    frames_offset: int
    min_frames: int
    max_frames: int


class VideoDefaults(Strict):
    """The sampler settings used where a spec leaves them out."""

    width: int
    height: int
    num_frames: int
    fps: int
    inference_steps: int
    guidance_scale: float


class BaseModelRow(Strict):
    """One base model: a diffusers-format folder and what the trainer must know about it.

    `family` picks the description in `vader_core.base_models`; `lora_targets` are the module name
    endings that PEFT matches in the denoiser.
    """

    id: str
    version: str
    title: str
    family: Literal["text_to_video_sd", "wan"]
    folder: Path
    revision: str
    licence: str
    sizes: SizeRule
    defaults: VideoDefaults
    lora_targets: list[str]


class RewardRow(Strict):
    """One reward. `needs_target` says that every prompt must carry a `target` label.

    `targets` lists the labels the model knows; `range` is the score's smallest and largest value,
    None where unbounded. Higher is always better. `objective` is what training climbs: the score, or
    its logarithm where the score is a probability, whose own gradient vanishes for the very videos
    that are furthest from it.
    """

    id: str
    version: str
    title: str
    kind: Literal["videomae_action", "clip_text_match", "clip_preference", "diversity", "motion"]
    differentiable: bool
    per: Literal["frame", "video", "group"]
    range: tuple[float | None, float | None]
    objective: Literal["score", "log_score"] = "score"
    folder: Path | None = None
    revision: str = ""
    licence: str = ""
    needs_target: bool = False
    targets: list[str] = []
    params_schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }

    @model_validator(mode="after")
    def _has_a_logarithm(self) -> RewardRow:
        if self.objective == "log_score" and (self.per == "frame" or self.range[0] != 0):
            raise ValueError(
                "`objective` log_score needs a score per video whose range starts at 0"
            )
        return self


class Catalogue(Strict):
    """All rows by id, without versions."""

    base_models: dict[str, BaseModelRow]
    rewards: dict[str, RewardRow]

    @staticmethod
    def load(extra: Path | None = None) -> Catalogue:
        """The built-in rows and those of the JSON file `extra` ({"base_models": [...], "rewards": [...]}).

        Raises `ValueError` when a row of the file is malformed or takes a name that is already used.
        """
        catalogue = BUILT_IN
        if extra is None:
            return catalogue
        rows = CatalogueFile.model_validate_json(extra.read_text(encoding="utf-8"))
        base_models, rewards = dict(catalogue.base_models), dict(catalogue.rewards)
        for row in rows.base_models:
            if base_models.setdefault(row.id, row) is not row:
                raise ValueError(f"{extra}: the base model id {row.id!r} is used twice")
        for reward in rows.rewards:
            if rewards.setdefault(reward.id, reward) is not reward:
                raise ValueError(f"{extra}: the reward id {reward.id!r} is used twice")
        return Catalogue(base_models=base_models, rewards=rewards)


class CatalogueFile(Strict):
    """The operators' file."""

    base_models: list[BaseModelRow] = []
    rewards: list[RewardRow] = []


_DIRECTIONS = ["moving left", "moving right", "moving up", "moving down"]

_BASE_MODELS = [
    BaseModelRow(
        id="tiny-unet",
        version="1",
        title="Tiny 3D UNet, epsilon prediction, 8 frames of 32x32",
        family="text_to_video_sd",
        folder=TINY_WEIGHTS / "tiny-unet",
        revision="built-in",
        licence="Apache-2.0",
        sizes=SizeRule(
            multiple=8,
            min_pixels=16,
            max_pixels=64,
            frames_multiple=1,
            frames_offset=0,
            min_frames=1,
            max_frames=24,
        ),
        defaults=VideoDefaults(
            width=32, height=32, num_frames=8, fps=8, inference_steps=10, guidance_scale=4.5
        ),
        lora_targets=["to_q", "to_k", "to_v", "to_out.0"],
    ),
    BaseModelRow(
        id="tiny-wan",
        version="1",
        title="Tiny Wan transformer, flow matching, 9 frames of 32x32",
        family="wan",
        folder=TINY_WEIGHTS / "tiny-wan",
        revision="built-in",
        licence="Apache-2.0",
        sizes=SizeRule(
            multiple=16,
            min_pixels=16,
            max_pixels=64,
            frames_multiple=2,
            frames_offset=1,
            min_frames=1,
            max_frames=25,
        ),
        defaults=VideoDefaults(
            width=32, height=32, num_frames=9, fps=8, inference_steps=10, guidance_scale=5.0
        ),
        lora_targets=["to_q", "to_k", "to_v", "to_out.0"],
    ),
]

_REWARDS = [
    RewardRow(
        id="tiny-action",
        version="1",
        title="Probability of the prompt's target label by a tiny VideoMAE classifier",
        kind="videomae_action",
        differentiable=True,
        per="video",
        range=(0.0, 1.0),
        objective="log_score",
        folder=TINY_WEIGHTS / "tiny-videomae",
        revision="built-in",
        licence="Apache-2.0",
        needs_target=True,
        targets=_DIRECTIONS,
    ),
    RewardRow(
        id="tiny-text-match",
        version="1",
        title="Cosine similarity of frame and prompt by a tiny CLIP, mean over frames",
        kind="clip_text_match",
        differentiable=True,
        per="frame",
        range=(-1.0, 1.0),
        folder=TINY_WEIGHTS / "tiny-clip",
        revision="built-in",
        licence="Apache-2.0",
    ),
    RewardRow(
        id="tiny-preference",
        version="1",
        title="Preference score of a head on the tiny CLIP's embeddings, mean over frames",
        kind="clip_preference",
        differentiable=True,
        per="frame",
        range=(None, None),
        folder=TINY_WEIGHTS / "tiny-clip",
        revision="built-in",
        licence="Apache-2.0",
    ),
    RewardRow(
        id="diversity",
        version="1",
        title="Mean pixel distance between videos of one prompt under different seeds",
        kind="diversity",
        differentiable=False,
        per="group",
        range=(0.0, 1.0),
    ),
    RewardRow(
        id="motion",
        version="1",
        title="Mean absolute change between neighbouring frames",
        kind="motion",
        differentiable=True,
        per="video",
        range=(0.0, 1.0),
    ),
]

BUILT_IN = Catalogue(
    base_models={row.id: row for row in _BASE_MODELS}, rewards={row.id: row for row in _REWARDS}
)
