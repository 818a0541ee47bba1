"""Videos of one step, sampled without a graph and scored: what the methods without reward gradients learn from.

Letters: B videos, R rows of a scheduler's batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vader_core import rollout
from vader_core.evaluation import decoded_whole
from vader_core.method_spec import OnlineSettings
from vader_core.methods.videos import batch_of, micro_batches
from vader_core.process import Process
from vader_core.rollout import Batch, Trajectory
from vader_core.spec import JobSpec, Prompt, Video
from vader_core.stepping import Stepper
from vader_core.workbench import Workbench


@dataclass(frozen=True)
class Sampled:
    """One micro-batch: what it was sampled from, what the sampler went through, and how it scored.

    `videos` are the numbers of its videos in the run; `total_B` is the weighted sum, on the CPU.
    """

    videos: range
    batch: Batch
    prompts: list[Prompt]
    trajectory: Trajectory
    total_B: torch.Tensor
    per_reward: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Collected:
    """All micro-batches of a step. Seconds are those of sampling, decoding and scoring."""

    parts: list[Sampled]
    sampling_seconds: float
    decode_seconds: float
    reward_seconds: float

    @property
    def total_B(self) -> torch.Tensor:
        """The weighted sums of all of the step's videos, on the CPU, in the order of their numbers."""
        return torch.cat([part.total_B for part in self.parts])

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts of all of the step's videos."""
        return [prompt for part in self.parts for prompt in part.prompts]

    def rewards(self) -> dict[str, float]:
        """Every reward's mean over the step's videos."""
        return {
            name: float(torch.cat([part.per_reward[name] for part in self.parts]).mean())
            for name in self.parts[0].per_reward
        }


def training_video(spec: JobSpec) -> Video:
    """The video settings of training rollouts, which may take fewer denoising steps."""
    method = spec.method
    if not isinstance(method, OnlineSettings) or method.sampling_steps is None:
        return spec.video
    return spec.video.model_copy(update={"inference_steps": method.sampling_steps})


def training_process(bench: Workbench, spec: JobSpec, *, revisited: bool = True) -> Process:
    """The process of training rollouts, which are recorded and visited unless `revisited` is False.

    Raises `SpecUnusable` where it is not known, or where they cannot be visited.
    """
    if revisited:
        rollout.require_revisitable(bench.base)
    videos = micro_batches(spec, step=0)[0]
    batch, _ = batch_of(bench, spec, step=0, videos=videos, video=training_video(spec))
    return rollout.process_of(batch)


def collect(
    bench: Workbench,
    spec: JobSpec,
    *,
    step: int,
    sampler: Stepper | None = None,
    end_only: bool = False,
) -> Collected:
    """Samples and scores the videos of step `step` (from 0) with the adapter as it is.

    `sampler` and `end_only` are as in `vader_core.rollout.record`. Raises `RewardNotFinite`.
    """
    clock = bench.compute.clock
    parts: list[Sampled] = []
    sampling = decode = reward = 0.0
    for videos in micro_batches(spec, step=step):
        batch, prompts = batch_of(bench, spec, step=step, videos=videos, video=training_video(spec))
        times = [clock()]
        trajectory = rollout.record(batch, sampler=sampler, end_only=end_only)
        times.append(clock())
        frames_BFCHW = decoded_whole(
            bench.base,
            trajectory.latents_BCfHW,
            batch.video,
            chunk_frames=spec.method.decode_chunk_frames,
        )
        times.append(clock())
        with torch.no_grad():
            total_B, per_reward = bench.objective.reward.score(
                frames_BFCHW, prompts, chunk_frames=spec.method.decode_chunk_frames
            )
        times.append(clock())
        parts.append(Sampled(videos, batch, prompts, trajectory, total_B, per_reward))
        sampling += times[1] - times[0]
        decode += times[2] - times[1]
        reward += times[3] - times[2]
    return Collected(parts, sampling, decode, reward)
