"""What a run must remember to go on exactly, besides the adapter and the optimiser's tensors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from vader_core.divergence import WINDOW_STEPS
from vader_core.spec import EarlyStop


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


class TrainState(BaseModel):
    """Counters and histories of a run; state.json of a checkpoint.

    `scales` are those of the rewards that are scaled by the base model's spread. `heldout_rewards` are the periodic evaluations' (step, mean), the base evaluation's at step 0 first.
    """

    model_config = ConfigDict(extra="forbid")

    spec_hash: str
    versions: dict[str, str]
    step: int = 0
    reward_queries: int = 0
    evaluation_queries: int = 0
    gpu_seconds: float = 0.0
    wall_clock_s: float = 0.0
    base_scores: PairScores | None = None
    base_evaluation_s: float = 0.0
    scales: dict[str, Scales] = {}
    heldout_rewards: list[tuple[int, float]] = []
    recent_rewards: list[float] = []

    def count_step(self, *, reward: float, reward_queries: int) -> None:
        self.step += 1
        self.reward_queries += reward_queries
        self.recent_rewards = [*self.recent_rewards, reward][-WINDOW_STEPS:]

    def evaluation_due(self, every_steps: int | None) -> bool:
        """Whether a periodic evaluation belongs to this step and is still missing."""
        if every_steps is None or self.step == 0 or self.step % every_steps:
            return False
        return all(step != self.step for step, _ in self.heldout_rewards)

    def is_stuck(self, early_stop: EarlyStop | None) -> bool:
        """Whether the last `patience_evals` evaluations all failed to beat the best before by `min_delta`."""
        if early_stop is None:
            return False
        best, since_best = float("-inf"), 0
        for _, reward in self.heldout_rewards:
            if reward > best + early_stop.min_delta:
                best, since_best = reward, 0
            else:
                since_best += 1
        return since_best >= early_stop.patience_evals
