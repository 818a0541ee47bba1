"""Generations: videos of one prompt, by a base model alone or with an adapter at a chosen scale. Free of torch.

`GenerationSpec` is what may be asked for; `vader_core.generation_faults.check` returns the same model with
every default filled in, which is what is stored and what the command `generate` reads.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from vader_core.failure import Answer
from vader_core.lines import File
from vader_core.scoring import Unscored
from vader_core.spec import Prompt, Video
from vader_core.strict import Strict

MAX_VIDEOS = 4
MAX_REWARDS = 8
MAX_SCALE = 2.0
Role = Literal["adapter", "base"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class ScoreWith(Strict):
    """A reward to score the videos by, with its parameters."""

    reward: str
    params: dict[str, JsonValue] = {}


class GenerationSpec(Strict):
    """Videos of one prompt.

    `adapter` names an adapter, or for the command `generate` its folder; without one the videos are the base
    model's. `base_model` and `variant` may be left out with an adapter, which belongs to one.
    `adapter_scale` (None: 1) multiplies the adapter's effect: 0 is the base model. `image` is the first
    image, for base models that start from one. Give `seeds`, or `seed` (None: 0) with `num_videos` (None: 1)
    for that many seeds from there on. The same seed is the same noise for adapter and base model, and what
    an evaluation uses for that prompt and seed. `compare_with_base` makes the base model's videos as well.
    """

    adapter: str | None = Field(default=None, min_length=1, max_length=200)
    adapter_scale: float | None = Field(default=None, ge=0, le=MAX_SCALE)
    base_model: str | None = None
    variant: str | None = None
    prompt: str = Field(min_length=1, max_length=2000, pattern=r"\S")
    target: str | None = Field(default=None, min_length=1, max_length=200)
    image: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$")
    negative_prompt: str | None = Field(default=None, max_length=2000)
    seed: Seed | None = None
    num_videos: int | None = Field(default=None, ge=1, le=MAX_VIDEOS)
    seeds: list[Seed] | None = Field(default=None, min_length=1, max_length=MAX_VIDEOS)
    video: Video = Video()
    compare_with_base: bool = False
    score_with: list[str | ScoreWith] = Field(default=[], max_length=MAX_REWARDS)

    @property
    def shown(self) -> Prompt:
        """The prompt with what goes with it."""
        return Prompt(prompt=self.prompt, target=self.target, image=self.image)

    @property
    def every_seed(self) -> list[int]:
        """One for each video of a role."""
        if self.seeds is not None:
            return self.seeds
        first = self.seed or 0
        return [first + i for i in range(self.num_videos or 1)]

    @property
    def roles(self) -> list[Role]:
        """Whose videos are made, in the order in which they are made and shown."""
        if self.adapter is None:
            return ["base"]
        return ["base", "adapter"] if self.compare_with_base else ["adapter"]

    @property
    def rewards(self) -> list[ScoreWith]:
        """`score_with` without its short form."""
        return [ScoreWith(reward=one) if isinstance(one, str) else one for one in self.score_with]


class OutputScore(Strict):
    """A video's score by one reward (id@version), or the reason why it has none."""

    reward: str
    score: float | None
    reason: Unscored | None = None


class GeneratedVideo(Strict):
    """One video; the path of its `file` is relative to the output folder."""

    role: Role
    seed: int
    file: File
    scores: list[OutputScore]


class GenerationResult(Strict):
    """What was made. `sheet` shows base and adapter side by side; `seconds` are wall seconds, loading included."""

    videos: list[GeneratedVideo]
    sheet: File | None
    device: str
    precision: str
    seconds: float


class GenerationOutput(Answer[GenerationResult]):
    """What the command `generate` writes as result.json."""
