"""What a spec asks for in numbers: steps, videos, reward queries, evaluations. Free of torch.

Nothing here is estimated: these are the counts of a run that no ceiling of time and no early stop ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vader_core.method_spec import OnlineSettings
from vader_core.prompts import prompt_id, split
from vader_core.spec import JobSpec, Prompt

# Fewer held-out prompts cannot carry a verdict (`vader_core.statistics`).
FEWEST_PROMPTS = 3


@dataclass(frozen=True)
class Done:
    """What the checkpoint that a run goes on from has done already; by default nothing."""

    steps: int = 0
    reward_queries: int = 0
    gpu_seconds: float = 0.0
    wall_clock_s: float = 0.0


NOTHING_DONE = Done()


@dataclass(frozen=True)
class Plan:
    """The counts of a run. `steps` are those still to be taken, `ends_by` the count that ends them.

    `evaluations` includes the base model's and the final one; each scores `pairs` videos.
    """

    steps: int
    ends_by: Literal["max_steps", "max_reward_queries"]
    videos_per_step: int
    queries_per_step: int
    heldout_prompts: int
    pairs: int
    evaluations: int
    queries_per_evaluation: int

    @property
    def training_queries(self) -> int:
        return self.steps * self.queries_per_step

    @property
    def evaluation_queries(self) -> int:
        return self.evaluations * self.queries_per_evaluation


def plan(spec: JobSpec, prompts: Sequence[Prompt], *, done: Done = NOTHING_DONE) -> Plan:
    """The plan of the resolved `spec`, whose prompts are `prompts`."""
    method, budget, every = spec.method, spec.budget, spec.evaluation.every_steps
    videos = method.videos_per_step
    per_step = videos * method.scores_per_video * len(spec.rewards)
    wanted = max(budget.max_steps - done.steps, 0)
    paid_for = wanted
    if budget.max_reward_queries is not None:
        paid_for = max(budget.max_reward_queries - done.reward_queries, 0) // per_step
    steps = min(wanted, paid_for)
    end = done.steps + steps
    # The evaluation of the last step is the final one.
    periodic = 0 if every is None else max((end - 1) // every - done.steps // every, 0)
    _, heldout = split(prompts, spec.prompts.heldout_fraction)
    compared = min(len({prompt_id(prompt) for prompt in heldout}), spec.evaluation.num_prompts)
    pairs = compared * len(spec.evaluation.seeds)
    return Plan(
        steps=steps,
        ends_by="max_reward_queries" if paid_for < wanted else "max_steps",
        videos_per_step=videos,
        queries_per_step=per_step,
        heldout_prompts=compared,
        pairs=pairs,
        evaluations=periodic + (1 if done.steps else 2),
        queries_per_evaluation=pairs * (len(spec.rewards) + len(spec.guards or [])),
    )


def work_of_a_video(spec: JobSpec) -> float:
    """The denoiser's work on one training video of the resolved `spec`: pixels times denoising steps.

    In units that mean something between jobs of one base model and one method only.
    """
    method, steps = spec.method, spec.video.inference_steps or 1
    if isinstance(method, OnlineSettings):
        steps = method.sampling_steps or steps
    return float(pixels_of_a_video(spec) * steps)


def pixels_of_a_video(spec: JobSpec) -> int:
    """Width times height times frames, of the resolved `spec`."""
    video = spec.video
    return (video.width or 1) * (video.height or 1) * (video.num_frames or 1)
