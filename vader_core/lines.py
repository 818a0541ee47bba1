"""The trainer's output: one JSON object per line on stdout. Free of torch.

Every line has `type`, `at` (RFC 3339, UTC) and `step` (optimiser steps done so far). Seconds are wall
seconds of this machine unless a name says otherwise; `gpu_seconds` are seconds times devices (a CPU run
counts as one device) and include what earlier attempts spent. Paths are relative to the run folder.
`parse` turns a line back into its model and refuses anything else.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from vader_core.spec import Budget
from vader_core.strict import Strict

Verdict = Literal["improved", "no_clear_difference", "worse"]
GuardRule = Literal["ratio", "drop"]
EarlyEnd = Literal["early_stop", "guard_violated"]
"""How a run ends before its budget: by a score that no longer rises, or by its guards."""
StopReason = Literal[
    "completed_steps",
    "reward_queries",
    "gpu_seconds",
    "wall_clock",
    "deadline",
    "cost",
    "early_stop",
    "guard_violated",
    "cancelled",
]


class File(Strict):
    """A finished file of the run folder."""

    path: str
    size_bytes: int
    sha256: str


class GuardResult(Strict):
    """A guard's mean on base and adapter videos, and whether it fell no further than was allowed.

    By the rule `ratio`, `ratio_to_base` must be at least `min_ratio_to_base`; by the rule `drop`, `drop`
    (base minus adapter, in units of `base_deviation`) must be at most `max_drop`. The fields of the other
    rule are None. `base_deviation` is the standard deviation of the base model's single videos.
    """

    reward: str
    rule: GuardRule = "ratio"
    base: float
    adapter: float
    base_deviation: float | None = None
    ratio_to_base: float | None = None
    min_ratio_to_base: float | None = None
    drop: float | None = None
    max_drop: float | None = None
    ok: bool


class RewardDifference(Strict):
    """Paired difference adapter - base of one score over the held-out pairs, with its 95 % interval.

    `resolution` is the smallest difference that counts as one: anything less is rounding, or next to
    nothing of the score's range (`vader_core.statistics.resolution`).
    """

    base: float
    adapter: float
    delta: float
    delta_ci95: tuple[float, float]
    resolution: float = 0.0


class PairsNeeded(Strict):
    """How many held-out prompts, each with this evaluation's seeds, would give the interval `half_width`.

    `wanted` says whose half width that is: the spec's (`given`), or the seen difference's own size, which
    would just part it from 0 (`seen_difference`). `prompts` and `pairs` (prompts times seeds) are None
    where nothing can be said, for the reason in `unknown_because`.
    """

    wanted: Literal["given", "seen_difference"]
    half_width: float
    prompts: int | None
    pairs: int | None
    unknown_because: (
        Literal["too_few_prompts", "no_spread", "no_difference", "out_of_reach"] | None
    ) = None


class Line(Strict):
    """What all lines share."""

    at: datetime
    step: int


class Started(Line):
    """The trainer is up. `resumed_from` is the checkpoint's step, None for a fresh run."""

    type: Literal["started"] = "started"
    resumed_from: int | None
    device: str
    precision: str
    steps_total: int
    trainable_parameters: int
    versions: dict[str, str]


class Phase(Line):
    """What the trainer does from now on."""

    type: Literal["phase"] = "phase"
    phase: Literal["loading", "evaluating_base", "training", "evaluating", "exporting"]


class StageSeconds(Strict):
    """Where one optimiser step's seconds went."""

    prefix: float
    last_k: float
    decode: float
    reward: float
    backward: float
    optimiser: float


class Repeated(Strict):
    """Scores that earlier attempts asked for after the checkpoint that this one goes on from. They count
    against the budget; what was learned from them is lost, so no other number has them."""

    reward_queries: int = 0
    evaluation_queries: int = 0


class Step(Line):
    """One training step. `reward` is the weighted sum, mean over the step's videos; `reward_queries`
    counts training queries so far, `evaluation_queries` those of evaluation. `denoiser_forwards` is the
    denoiser's work of training so far in forward-equivalents: a forward pass of one video and guidance
    branch is 1, with its backward pass 3, with checkpoints 4. `figures` are the method's own. What was
    spent by earlier attempts in vain stands in `repeated` alone."""

    type: Literal["step"] = "step"
    loss: float
    reward: float
    reward_std: float
    rewards: dict[str, float]
    penalty: float
    grad_norm: float
    learning_rate: float
    seconds: float
    stage_seconds: StageSeconds
    reward_queries: int
    evaluation_queries: int
    gpu_seconds: float
    peak_memory_bytes: int
    denoiser_forwards: int
    figures: dict[str, float] = {}
    repeated: Repeated = Repeated()


class PairScore(Strict):
    """What one held-out prompt's video under one seed was scored: the weighted sum, and every reward by name."""

    prompt_id: str
    seed: int
    score: float
    rewards: dict[str, float] = {}


class EvaluationDone(Line):
    """Scores of the held-out pairs. `difference` is of the weighted sum; it, the verdict and what
    `pairs_needed` says are None for kind `base`. `scores` has every pair by itself, so that two runs can be
    compared pair by pair. `adapter_step` is the step that the adapter is of where an
    early stop went back to an earlier one; None: it is the one of `step`. `reward_queries` are those of
    training so far, as in a step."""

    type: Literal["evaluation"] = "evaluation"
    kind: Literal["base", "periodic", "final"]
    pairs: int
    heldout_reward: float
    baseline_heldout_reward: float
    difference: RewardDifference | None
    per_reward: dict[str, RewardDifference]
    guards: list[GuardResult]
    verdict: Verdict | None
    pairs_needed: PairsNeeded | None = None
    adapter_step: int | None = None
    reward_queries: int = 0
    evaluation_queries: int
    repeated: Repeated = Repeated()
    seconds: float
    scores: list[PairScore] = []


class Sample(Line):
    """A kept video of a held-out prompt and seed; `pair` names what base and adapter share."""

    type: Literal["sample"] = "sample"
    role: Literal["base", "adapter"]
    pair: str
    prompt_id: str
    prompt: str
    seed: int
    score: float
    file: File


class Sheet(Line):
    """A PNG contact sheet: for each held-out pair the base row over the adapter row."""

    type: Literal["sheet"] = "sheet"
    file: File


class Counters(Strict):
    """What a run has used up to a step. They never go back."""

    reward_queries: int = 0
    evaluation_queries: int = 0
    gpu_seconds: float = 0.0
    wall_clock_s: float = 0.0


class Checkpoint(Line):
    """A whole checkpoint folder; `files` are all its files, the manifest among them."""

    type: Literal["checkpoint"] = "checkpoint"
    path: str
    files: list[File]
    counters: Counters


class Warned(Line):
    """Something a user should know that does not stop the run."""

    type: Literal["warning"] = "warning"
    code: str
    message: str


class Interrupted(Line):
    """Stopped so that it can go on later; unless the base model's evaluation was still missing, a checkpoint
    of this step was written. Exit status 3. `ceiling` is the one that was reached, where the budget says to
    pause at it, and `budget` the one that it stands in, as the trainer knew it; None: a signal."""

    type: Literal["interrupted"] = "interrupted"
    ceiling: StopReason | None = None
    budget: Budget | None = None


class Done(Line):
    """The run ended with a usable adapter in `path`. Exit status 0."""

    type: Literal["done"] = "done"
    stop_reason: StopReason
    verdict: Verdict | None
    reward_queries: int
    evaluation_queries: int
    repeated: Repeated = Repeated()
    gpu_seconds: float
    path: str
    files: list[File]


class Failed(Line):
    """The run cannot go on (vader_core.errors). Exit status is that error's."""

    type: Literal["error"] = "error"
    code: str
    message: str
    hint: str
    fault: Literal["user", "platform"]
    retryable: bool
    last_checkpoint: str | None


AnyLine = Annotated[
    Started
    | Phase
    | Step
    | EvaluationDone
    | Sample
    | Sheet
    | Checkpoint
    | Warned
    | Interrupted
    | Done
    | Failed,
    Field(discriminator="type"),
]
_ADAPTER: TypeAdapter[AnyLine] = TypeAdapter(AnyLine)


def parse(text: str) -> AnyLine:
    """The line that `text` holds. Raises `pydantic.ValidationError`."""
    return _ADAPTER.validate_json(text)
