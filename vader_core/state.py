"""What a run must remember to go on exactly, besides the adapter and the optimiser's tensors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from vader_core.divergence import OPENING_STEPS, WINDOW_STEPS
from vader_core.lines import Counters

# How many of the last steps' durations say how long the next one may take.
_TIMED_STEPS = 5


class PairScores(BaseModel):
    """Scores of the held-out pairs under one model, pair by pair in the fixed order.

    `guards` holds one mean per guard, in the spec's order, `guard_deviations` the standard deviations of
    the single videos' scores; `queries` what it cost.
    """

    model_config = ConfigDict(extra="forbid")

    total: list[float]
    rewards: dict[str, list[float]]
    guards: list[float]
    guard_deviations: list[float] = []
    queries: int


class Scales(BaseModel):
    """The base model's spread by one reward: of the score, and of what training climbs of it."""

    model_config = ConfigDict(extra="forbid")

    score: float
    objective: float


class Evaluated(BaseModel):
    """One evaluation: means over the held-out pairs, of the weighted sum and of every guard in the spec's
    order, and whether all guards held."""

    model_config = ConfigDict(extra="forbid")

    step: int
    heldout_reward: float
    guards: list[float]
    guards_held: bool


class TrainState(BaseModel):
    """Counters and histories of a run; state.json of a checkpoint.

    The hashes say which specs may go on from it (`vader_core.training_hash`).
    `scales` are those of the rewards that are scaled by the base model's spread. `evaluations` are the
    periodic ones, the base model's at step 0 first. Two fields are set when an early stop goes back to an
    earlier adapter, after the last checkpoint: `restored_step` is its step, `chosen_among` the number of
    adapters of which it was chosen by its scores of the held-out pairs. The rewards are the mean ones of
    the first and of the last steps.
    """

    model_config = ConfigDict(extra="forbid")

    training_hash: str
    continuation_hash: str
    versions: dict[str, str]
    step: int = 0
    reward_queries: int = 0
    evaluation_queries: int = 0
    denoiser_forwards: int = 0
    gpu_seconds: float = 0.0
    wall_clock_s: float = 0.0
    base_scores: PairScores | None = None
    base_evaluation_s: float = 0.0
    scales: dict[str, Scales] = {}
    evaluations: list[Evaluated] = []
    restored_step: int | None = None
    chosen_among: int = 1
    opening_rewards: list[float] = []
    recent_rewards: list[float] = []
    recent_step_seconds: list[float] = []

    def count_step(
        self, *, reward: float, reward_queries: int, denoiser_forwards: int, seconds: float
    ) -> None:
        self.step += 1
        self.reward_queries += reward_queries
        self.denoiser_forwards += denoiser_forwards
        self.opening_rewards = [*self.opening_rewards, reward][:OPENING_STEPS]
        self.recent_rewards = [*self.recent_rewards, reward][-WINDOW_STEPS:]
        self.recent_step_seconds = [*self.recent_step_seconds, seconds][-_TIMED_STEPS:]

    @property
    def counters(self) -> Counters:
        """What was used so far."""
        return Counters(
            reward_queries=self.reward_queries,
            evaluation_queries=self.evaluation_queries,
            gpu_seconds=self.gpu_seconds,
            wall_clock_s=self.wall_clock_s,
        )

    def evaluation_due(self, every_steps: int | None) -> bool:
        """Whether a periodic evaluation belongs to this step and is still missing."""
        if every_steps is None or self.step == 0 or self.step % every_steps:
            return False
        return all(evaluation.step != self.step for evaluation in self.evaluations)
