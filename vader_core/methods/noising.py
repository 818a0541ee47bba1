"""Finished videos, noised again: what the methods that learn by regression show the denoiser.

A clean sample is what came out of the sampler. It is mixed with fresh noise to what the sampler holds at
the input of some of its steps, and the denoiser predicts there, without guidance. One set of noised
videos may be looked at several times (by the base model, by the adapter, with gradient): the samples
are the same every time.

Deviations from the papers that use this (all train on any of about 1000 noise levels):
- the noise levels are those of the sampler's own steps;
- at step 0 the denoiser sees what the pipeline itself makes of noise, which at most differs from a noised
  video by the little signal that a video has there; the noise counted is what lies between the two;
- a squared error is the mean over a video's numbers, in the denoiser's own prediction, so that no noise
  level weighs more than another.

Letters: B videos, R rows of a scheduler's batch (R / B belong to each video, in a row), K visited steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from vader_core import evaluation, rollout, seeds
from vader_core.method_spec import MethodSettings
from vader_core.methods.collecting import Collected, training_video
from vader_core.methods.updating import pull_back
from vader_core.process import Process
from vader_core.rollout import Batch, Trajectory, Visit
from vader_core.spec import JobSpec, Prompt
from vader_core.stepping import rows_of
from vader_core.workbench import Workbench


@dataclass(frozen=True)
class Finished:
    """A finished video: its prompt and its clean sample (R / B, ...).

    `number` is what its noise is drawn by: the video's number in the run.
    """

    number: int
    prompt: Prompt
    clean: torch.Tensor
    process: Process


def finished(
    trajectory: Trajectory, *, videos: Sequence[int], prompts: Sequence[Prompt]
) -> list[Finished]:
    """The videos that a recorded rollout ended in, on the CPU; `videos` are their numbers."""
    rows = trajectory.samples[-1].chunk(len(videos))
    return [
        Finished(number, prompt, clean, trajectory.process)
        for number, prompt, clean in zip(videos, prompts, rows, strict=True)
    ]


def all_finished(collected: Collected) -> list[Finished]:
    """The videos of a step, in the order of their numbers."""
    return [
        video
        for part in collected.parts
        for video in finished(part.trajectory, videos=part.videos, prompts=part.prompts)
    ]


@dataclass(frozen=True)
class Point:
    """The denoiser at one step: `output` (R, ...) was predicted of `sample`, made of `clean` and `noise`.

    `videos` says which of the noised videos they are. `distance` is the scalar of the prediction penalty,
    None where it is not asked for.
    """

    index: int
    process: Process
    videos: slice
    clean: torch.Tensor
    noise: torch.Tensor
    sample: torch.Tensor
    output: torch.Tensor
    distance: torch.Tensor | None

    @property
    def count(self) -> int:
        """Videos."""
        return int(self.videos.stop - self.videos.start)

    def errors_B(self) -> torch.Tensor:
        """Every video's mean squared error of the prediction."""
        target = self.process.target(self.index, self.clean, self.noise)
        return self.means_B((self.output - target).square())

    def means_B(self, values: torch.Tensor) -> torch.Tensor:
        """Every video's mean over its rows of `values` (R, ...)."""
        return values.reshape(self.count, -1).mean(dim=1)


@dataclass(frozen=True)
class Learnt:
    """The losses that were pulled back: the method's own, and the prediction penalty before its weight."""

    loss: float
    penalty: float

    def __add__(self, other: Learnt) -> Learnt:
        return Learnt(self.loss + other.loss, self.penalty + other.penalty)


class Noised:
    """Some finished videos, noised to the inputs of `steps`.

    A video's noise depends on the spec's seed, `step`, `purpose` and its number alone.
    """

    def __init__(
        self,
        bench: Workbench,
        spec: JobSpec,
        videos: Sequence[Finished],
        *,
        step: int,
        steps: Sequence[int],
        purpose: str = "noising",
    ) -> None:
        self._bench, self._spec, self._videos = bench, spec, videos
        self._step, self._purpose = step, purpose
        self.process = videos[0].process
        self.clean = torch.cat([video.clean for video in videos]).to(bench.compute.device)
        self.steps = tuple(sorted(steps))
        drawn = self._generators(purpose)
        # The step-0 noise comes first and for every set of steps: the pipeline's call starts from it.
        self._first_noise = evaluation.noise(bench.base, spec.video, drawn)
        self._noises = {index: self._normal(drawn) for index in self.steps}

    def _generators(self, purpose: str) -> list[torch.Generator]:
        return [
            seeds.generator(self._spec.seed, step=self._step, purpose=purpose, index=video.number)
            for video in self._videos
        ]

    def _normal(self, drawn: Sequence[torch.Generator]) -> torch.Tensor:
        """Standard normal numbers (R, ...), each video's from its own generator."""
        shape = self._videos[0].clean.shape
        return torch.cat([torch.randn(shape, generator=one) for one in drawn]).to(self.clean)

    def errors_KB(self) -> torch.Tensor:
        """Every video's squared error at every step, without gradient."""
        errors_KB = self.clean.new_empty(len(self.steps), len(self._videos))

        def keep(point: Point) -> None:
            errors_KB[self.steps.index(point.index), point.videos] = point.errors_B()

        self._visit(keep, gradient=False, method=self._spec.method)
        return errors_KB

    def outputs(self) -> dict[int, torch.Tensor]:
        """The predictions (R, ...) at every step, without gradient."""
        seen: dict[int, list[torch.Tensor]] = {index: [] for index in self.steps}

        def keep(point: Point) -> None:
            seen[point.index].append(point.output)

        self._visit(keep, gradient=False, method=self._spec.method)
        return {index: torch.cat(outputs) for index, outputs in seen.items()}

    def rows(self, values: torch.Tensor, videos: slice) -> torch.Tensor:
        """Those rows of `values` (R, ...) that belong to some of the videos."""
        return rows_of(values, videos, of=len(self._videos))

    def learn(
        self,
        losses_B: Callable[[Point], torch.Tensor],
        *,
        of: int,
        penalty_weight: float | None = None,
    ) -> Learnt:
        """Adds the gradient of the videos' losses and returns them: these videos' part of a mean over
        `of` videos, and the mean over the steps.

        The prediction penalty is added to the loss with `penalty_weight`, None meaning the spec's.
        """
        method = self._spec.method
        if penalty_weight is not None:
            method = method.model_copy(update={"prediction_penalty": penalty_weight})
        share = 1 / (of * len(self.steps))
        sums = [0.0, 0.0]

        def pull(point: Point) -> None:
            loss = losses_B(point).sum() * share
            sums[0] += loss.item()
            if point.distance is not None:
                penalty = point.distance * point.count * share
                sums[1] += penalty.item()
                loss = loss + method.prediction_penalty * penalty
            pull_back(self._bench, loss)

        self._visit(pull, gradient=True, method=method)
        return Learnt(*sums)

    def _visit(
        self, on_point: Callable[[Point], None], *, gradient: bool, method: MethodSettings
    ) -> None:
        def tell(visit: Visit) -> None:
            on_point(self._point(visit))

        rollout.visit(
            self._batch(),
            inputs={
                index: self.process.noised(index, self.clean, noise)
                for index, noise in self._noises.items()
            },
            on_output=tell,
            method=method,
            gradient=gradient,
            conditional_only=True,
        )

    def _batch(self) -> Batch:
        """A fresh one for every visit, whose dropout is drawn from its step noise."""
        video = training_video(self._spec)
        base, prompts = self._bench.base, [one.prompt for one in self._videos]
        return Batch(
            base,
            base.conditions(prompts, video),
            self._first_noise,
            video,
            self._generators(f"{self._purpose}: dropout"),
        )

    def _point(self, visit: Visit) -> Point:
        clean = self.rows(self.clean, visit.videos)
        noise = self.rows(self._noises[visit.index], visit.videos)
        if visit.index == 0:
            alpha, sigma = float(self.process.alphas[0]), float(self.process.sigmas[0])
            noise = (visit.sample - alpha * clean) / sigma
        return Point(
            visit.index,
            self.process,
            visit.videos,
            clean,
            noise,
            visit.sample,
            visit.output,
            visit.distance,
        )
