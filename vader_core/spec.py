"""The job spec: what a team asks for, typed and strict. Free of torch, so that the API can use it.

`JobSpec` is what a client may write; `vader_core.resolve.resolve` checks it against the catalogue and
returns the same model with every default filled in, which is what is stored and what the trainer reads.
What fields say of each other is checked there, too, so that all faults can be told at once.
Units stand in the names: `_s` seconds, `_steps` optimiser steps unless the name says otherwise.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StrictBool, field_validator, model_validator

from vader_core.method_spec import Method, RewardGradient
from vader_core.moment import Moment
from vader_core.strict import Strict

MONEY_PLACES = 6
MOST_LABELS = 50
LabelName = Annotated[str, Field(max_length=64)]
LabelValue = Annotated[str, Field(max_length=200)]


class Adapter(Strict):
    """A LoRA adapter. `target_modules` None takes the base model's own list from the catalogue."""

    type: Literal["lora"] = "lora"
    rank: int = Field(default=16, ge=1, le=512)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: list[str] | None = Field(default=None, min_length=1)


class RewardTerm(Strict):
    """One reward in the weighted sum that is maximised: `weight * score / scale`, summed over the terms.

    `scale` brings rewards of different units together: a number, or "base" for the standard deviation
    of the base model's own held-out scores. With `aim` the term is `-|score - aim|` instead of the
    score: training goes towards that value and not beyond it. With `cap` it is `min(score, cap)`: a
    video beyond that value gains nothing more (the hinge loss of ReFL, arXiv 2304.05977).
    """

    reward: str
    weight: float = Field(default=1.0, gt=0)
    scale: Annotated[float, Field(gt=0)] | Literal["base"] = 1.0
    aim: float | None = None
    cap: float | None = None
    params: dict[str, JsonValue] = {}


# Half a deviation is twice the standard error of the difference between two means of 32 videos, which
# the default evaluation compares: an adapter that changes nothing hardly ever breaks such a guard.
DEFAULT_MAX_DROP = 0.5
DEFAULT_MIN_RATIO = 0.8


class Guard(Strict):
    """A measure whose mean over the held-out videos must not fall too far below the base model's.

    For scores whose `range` starts at 0, `min_ratio_to_base` says to which part of the base model's mean
    it may fall (None: 0.8). For all others `max_drop` says by how much, in standard deviations of the
    base model's single videos (None: 0.5). Only the one that fits the reward can be given.
    """

    reward: str
    min_ratio_to_base: float | None = Field(default=None, gt=0)
    max_drop: float | None = Field(default=None, ge=0)
    params: dict[str, JsonValue] = {}


class Prompt(Strict):
    """One prompt. `target` is the label a classifying reward looks for, such as "moving left".

    `heldout` fixes the side; left out, a hash of the text (whatever its case and spaces) and the image
    decides (`vader_core.prompts.split`). `image` names the first image, for base models that go from
    image to video: a file of the trainer's image folder, or an uploaded image of the project.
    """

    prompt: str = Field(min_length=1, max_length=2000, pattern=r"\S")
    target: str | None = Field(default=None, min_length=1, max_length=200)
    heldout: StrictBool | None = None
    image: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$")


class Prompts(Strict):
    """Either a stored prompt set or the prompts themselves.

    `prompt_set` is its id ("ps_...", "ps_...@v2") or its name: "shapes" for the newest version there is,
    "shapes@v2" for one. A resolved spec names id and version.
    """

    prompt_set: str | None = None
    inline: list[Prompt] | None = Field(default=None, min_length=1, max_length=10_000)
    heldout_fraction: float = Field(default=0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Prompts:
        if (self.prompt_set is None) == (self.inline is None):
            raise ValueError("give exactly one of `prompt_set` and `inline`")
        return self


class Video(Strict):
    """What is sampled. None takes the base model's default from the catalogue. Sizes in pixels."""

    width: int | None = Field(default=None, ge=1)
    height: int | None = Field(default=None, ge=1)
    num_frames: int | None = Field(default=None, ge=1)
    fps: int | None = Field(default=None, ge=1, le=120)
    inference_steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, ge=1)
    negative_prompt: str = ""


LEAST_SECONDS = 1e-3
Seconds = Annotated[float, Field(ge=LEAST_SECONDS)]
"""A ceiling, of which what is used is told as a part: less than a millisecond would be none."""


class Money(Strict):
    """An amount as a decimal string, in parts no smaller than a millionth, and an ISO 4217 currency."""

    amount: Decimal = Field(gt=0, decimal_places=MONEY_PLACES)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")


class Budget(Strict):
    """The ceilings of a job; the first one reached ends training with that `stop_reason`.

    `max_reward_queries` counts training queries only; evaluation is counted apart. Seconds include the
    final evaluation, for which the trainer keeps time back.
    """

    max_steps: int = Field(ge=1)
    max_reward_queries: int | None = Field(default=None, ge=1)
    max_gpu_seconds: Seconds | None = None
    max_wall_clock_s: Seconds | None = None
    deadline_at: Moment | None = None
    max_queue_s: Seconds | None = None
    max_cost: Money | None = None
    on_exhausted: Literal["finish", "pause"] = "finish"


class Checkpoints(Strict):
    """A checkpoint is written after every `every_steps` steps; the newest `keep_last` are kept, and besides
    them the one that did best in the evaluation at its step. `keep_best_by` None keeps none besides."""

    every_steps: int = Field(default=50, ge=1)
    keep_last: int = Field(default=3, ge=1)
    keep_best_by: Literal["heldout_reward"] | None = "heldout_reward"


class Evaluation(Strict):
    """Held-out prompts times seeds make the pairs; `every_steps` None evaluates at start and end only.

    `wanted_half_width` is how far the 95 % interval should reach to either side of the difference, in units
    of the weighted sum: every comparison says how many pairs that takes. None asks for the interval that
    would just part the difference then seen from 0.
    """

    every_steps: int | None = Field(default=None, ge=1)
    num_prompts: int = Field(default=16, ge=1)
    seeds: list[int] = Field(default=[11, 12], min_length=1)
    samples_to_keep: int = Field(default=8, ge=0)
    wanted_half_width: float | None = Field(default=None, gt=0)

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("`seeds` names a seed twice: its videos would be the same")
        return seeds


class EarlyStop(Strict):
    """Ends training when `patience_evals` evaluations in a row were not good.

    - `heldout_reward`: good is what beats the best mean before by more than `min_delta`. The adapter
      stays as it is.
    - `guards`: good is where no guard is broken.
    - `unseen_reward`: good is where the mean of the guard `reward`, which is not trained on, beats its
      best before by more than `min_delta`.

    With the last two the run goes back to the adapter of the last good evaluation before the final one,
    the base model's counting as good. It never goes back by the held-out reward itself: the best of
    several adapters by their scores of the pairs that give the verdict would look better than it is.
    """

    metric: Literal["heldout_reward", "guards", "unseen_reward"] = "heldout_reward"
    reward: str | None = None
    patience_evals: int = Field(default=4, ge=1)
    min_delta: float = Field(default=0.0, ge=0)

    @property
    def goes_back(self) -> bool:
        """Whether an early stop ends with an earlier adapter than the last."""
        return self.metric != "heldout_reward"


class InitFrom(Strict):
    """Where training starts from, instead of the base model without an adapter.

    `adapter` (its id, or `@alias`) gives its weights. `checkpoint` gives its adapter's weights, or with
    `state` full everything: optimiser, step count and what was spent, so that a run goes on as if it had
    never ended.
    """

    adapter: str | None = None
    checkpoint: str | None = None
    state: Literal["weights", "full"] = "weights"

    @model_validator(mode="after")
    def _one_start(self) -> InitFrom:
        if (self.adapter is None) == (self.checkpoint is None):
            raise ValueError("give one of `adapter` and `checkpoint`")
        if self.adapter is not None and self.state == "full":
            raise ValueError("an adapter has weights only: `state` full needs a `checkpoint`")
        return self


class JobSpec(Strict):
    """One alignment job.

    `variant` names a few-step or guidance-distilled form of the base model (its catalogue row lists them).
    `guards` None takes the default guards: diversity and motion, and how well the prompt is matched
    where that is not what is trained.
    """

    name: str = Field(default="", max_length=200)
    base_model: str
    variant: str | None = None
    method: Method = RewardGradient()
    adapter: Adapter = Adapter()
    rewards: list[RewardTerm] = Field(min_length=1)
    guards: list[Guard] | None = None
    prompts: Prompts
    video: Video = Video()
    budget: Budget
    checkpoints: Checkpoints = Checkpoints()
    evaluation: Evaluation = Evaluation()
    early_stop: EarlyStop | None = None
    init_from: InitFrom | None = None
    seed: int = Field(default=0, ge=0, lt=2**63)
    priority: Literal["low", "normal", "high"] = "normal"
    labels: Annotated[dict[LabelName, LabelValue], Field(max_length=MOST_LABELS)] = {}


def spec_hash(spec: JobSpec) -> str:
    """sha256 over the canonical JSON of `spec`, as "sha256:<64 hex digits>"."""
    canonical = json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
