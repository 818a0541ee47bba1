"""Sampling videos with gradient through some denoising steps, and looking again at steps once taken.

VADER, Algorithm 1 (arXiv 2407.08737): for t = T..1 predict, cut the prediction's gradient while
t > K, step the scheduler; the reward's gradient then runs through the last K predictions, chained
through the latents between them.

Deviations:
- the sampler is the pipeline's own `__call__`, without its `no_grad` decorator, and a gate before the
  denoiser does the cutting (`vader_core.gate`). Cut predictions are computed without a graph at all;
- which steps carry gradient is free: any set of them, not only the last K;
- the unconditional branch of guidance carries gradient only where `guidance_gradient` is "both". The
  paper's code has it so; "conditional" halves the memory and the backward time of a step;
- an optional penalty: the mean squared distance between the predictions with and without the adapter
  at the differentiable steps, over the branches that carry gradient.

Methods that learn from single denoising steps `record` a rollout without a graph and `visit` steps of
it afterwards: the pipeline's own call is made once more, but the denoiser is only run at those steps,
and is shown the sample that the method puts there. Guidance and all else that a pipeline does to a
prediction stay the pipeline's.

Letters: B videos, C channels, f latent frames, H and W latent sizes, R rows of a scheduler's batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from vader_core.base_models import BaseModel
from vader_core.errors import SpecUnusable
from vader_core.families.family import Branch, Conditions
from vader_core.gate import Gate, GateSettings, gated
from vader_core.lora_layers import dropouts
from vader_core.method_spec import MethodSettings, RewardGradient
from vader_core.process import Process
from vader_core.spec import Video
from vader_core.stepping import StepCall, Stepper, rows_of

_EVERY_BRANCH: frozenset[Branch] = frozenset({"cond", "uncond"})
_CONDITIONAL: frozenset[Branch] = frozenset({"cond"})
# Makes the stepper of one call of the pipeline, which samples the videos of that slice.
MakeStepper = Callable[[slice], Stepper]


@dataclass(frozen=True)
class Batch:
    """What B videos of the resolved settings `video` are sampled from.

    `noise` is standard normal, of `base.latents_shape`. `step_noise` is one CPU generator per video, used
    by schedulers that add noise and by the adapter's dropout.
    """

    base: BaseModel
    conditions: Conditions
    noise: torch.Tensor
    video: Video
    step_noise: Sequence[torch.Generator]


@dataclass(frozen=True)
class Rollout:
    """Sampled latents, with a graph over the differentiable steps.

    `penalty` is the scalar distance to the base model's predictions, None where it is not asked for.
    Seconds are those before the first differentiable step and from there on.
    """

    base: BaseModel
    latents_BCfHW: torch.Tensor
    penalty: torch.Tensor | None
    prefix_seconds: float
    last_k_seconds: float


@dataclass(frozen=True)
class Trajectory:
    """What a sampler went through without a graph.

    `samples` are the N + 1 samples (R, ...) in the scheduler's own layout: `samples[i]` went into step i,
    the last one is what came out at the end; it is the only one where no more was asked for. R / B rows
    belong to each video. They wait on the CPU: `at` brings one to where the latents are.
    """

    process: Process
    samples: list[torch.Tensor]
    latents_BCfHW: torch.Tensor

    def at(self, index: int) -> torch.Tensor:
        """Sample number `index`; -1 is the end."""
        return self.samples[index].to(self.latents_BCfHW.device)


@dataclass(frozen=True)
class Visit:
    """One visited step: `output` (R, ...) was predicted of `sample` (R, ...), with a graph where asked.

    `videos` says which of the batch they belong to: all, or one where a pipeline takes one at a time.
    `distance` is the scalar of the prediction penalty, None where it is not asked for.
    """

    index: int
    process: Process
    sample: torch.Tensor
    output: torch.Tensor
    videos: slice
    distance: torch.Tensor | None


def sample(
    batch: Batch,
    *,
    method: RewardGradient,
    gradient_steps: frozenset[int] | None = None,
    steps_run: frozenset[int] | None = None,
    stepper: MakeStepper | None = None,
) -> Rollout:
    """Samples the batch's videos, differentiable in the adapter's weights.

    `gradient_steps` are the differentiable ones, counted from 0 or from the end as -1, -2, ...; None means
    the last K. `steps_run` and `stepper` are as in `vader_core.gate`: which steps call the denoiser, and
    what becomes of its prediction.
    """
    if gradient_steps is None:
        gradient_steps = last_steps(method.differentiable_steps)
    settings = GateSettings(
        **_calls(batch),
        gradient_steps=gradient_steps,
        branches_with_gradient=_branches(method),
        steps_run=steps_run,
        detach_input=method.detach_input,
        checkpointing=method.gradient_checkpointing,
        measure_distance=method.prediction_penalty > 0,
    )
    with torch.enable_grad(), _dropout_seed(batch):
        runs = [_run(share, settings, stepper and stepper(of)) for of, share in _shares(batch)]
    distances = [run.distance for run in runs if run.distance is not None]
    return Rollout(
        base=batch.base,
        latents_BCfHW=torch.cat([run.latents_BCfHW for run in runs]),
        penalty=torch.stack(distances).mean() if distances else None,
        prefix_seconds=sum(run.prefix_seconds for run in runs),
        last_k_seconds=sum(run.last_k_seconds for run in runs),
    )


def last_steps(count: int) -> frozenset[int]:
    """The last `count` denoising steps, counted from the end."""
    return frozenset(range(-count, 0))


def generate(batch: Batch) -> torch.Tensor:
    """The latents (B, C, f, H, W) that `sample` gives with the same arguments, without any graph."""
    settings = GateSettings(**_calls(batch))
    with torch.no_grad():
        return torch.cat([_run(share, settings).latents_BCfHW for _, share in _shares(batch)])


def record(batch: Batch, *, sampler: Stepper | None = None, end_only: bool = False) -> Trajectory:
    """Samples like `generate` and keeps every sample on the way, or with `end_only` just the last.

    `sampler` says what follows each sample; None leaves it to the pipeline's scheduler. Raises
    `SpecUnusable` for a scheduler whose process is not known.
    """
    require_revisitable(batch.base)
    settings = GateSettings(**_calls(batch))
    with torch.no_grad():
        return _joined(
            [_recorded(share, settings, sampler, end_only) for _, share in _shares(batch)]
        )


def require_revisitable(base: BaseModel) -> None:
    """Raises `SpecUnusable` for a model whose rollouts cannot be recorded and visited."""
    if not base.row.revisitable:
        raise SpecUnusable(
            f"{base.row.id} samples more than the video: no denoising step can be looked at by itself.",
            hint="Use method reward_gradient with path sampler, leap or clean_prediction.",
        )


def process_of(batch: Batch) -> Process:
    """The process that the batch's videos would be sampled with, found without sampling them.

    The pipeline sets its timesteps by itself; its denoiser is called once, for its prediction's shape.
    Raises `SpecUnusable` for a scheduler whose process is not known.
    """
    found: list[Process] = []

    def note(call: StepCall) -> torch.Tensor:
        if not found:
            found.append(call.process)
        return call.sample

    _, share = _shares(batch)[0]
    with torch.no_grad():
        _run(share, GateSettings(**_calls(batch), steps_run=frozenset()), note)
    return found[0]


def _recorded(
    batch: Batch,
    settings: GateSettings,
    sampler: Stepper | None,
    end_only: bool,  # noqa: FBT001
) -> Trajectory:
    process: Process | None = None
    samples: list[torch.Tensor] = []

    def keep(call: StepCall) -> torch.Tensor:
        nonlocal process
        process = call.process if process is None else process
        following = call.own() if sampler is None else sampler(call)
        if not end_only:
            samples.append(call.sample.cpu())
        if call.is_last:
            samples.append(following.cpu())
        return following

    run = _run(batch, settings, keep)
    assert process is not None, "a rollout takes at least one step"
    return Trajectory(process, samples, run.latents_BCfHW)


def _joined(trajectories: list[Trajectory]) -> Trajectory:
    """Trajectories of single videos as one of all."""
    samples = [list(same) for same in zip(*(one.samples for one in trajectories), strict=True)]
    return Trajectory(
        trajectories[0].process,
        [torch.cat(same) for same in samples],
        torch.cat([one.latents_BCfHW for one in trajectories]),
    )


def visit(
    batch: Batch,
    *,
    inputs: Mapping[int, torch.Tensor],
    on_output: Callable[[Visit], None],
    method: MethodSettings,
    gradient: bool,
    conditional_only: bool,
) -> None:
    """Runs the denoiser at the steps of `inputs` on these samples (R, ...), and tells `on_output` of each.

    Step 0 always sees what the pipeline makes of `noise`, and `inputs[0]` is not looked at: pass the
    noise of the recorded rollout to see its first step again. With `gradient` the outputs carry a graph
    over that step alone: `on_output` has to use it up, which frees it. Without it they are computed by the
    same calls, so that what differs between two visits is never their rounding. `conditional_only` gives
    the conditional branch's prediction instead of the guided one. `method` says what else the gate does.
    """
    visited = frozenset(inputs)
    guided = method.guidance_gradient == "both" and not conditional_only
    settings = GateSettings(
        **_calls(batch),
        gradient_steps=visited,
        branches_with_gradient=_EVERY_BRANCH if guided else _CONDITIONAL,
        steps_run=visited,
        graph=gradient,
        conditional_only=conditional_only,
        checkpointing=method.gradient_checkpointing,
        measure_distance=method.prediction_penalty > 0,
    )
    count = len(batch.conditions)
    with torch.set_grad_enabled(gradient), _dropout_seed(batch):
        for videos, share in _shares(batch):
            of_share = {
                index: rows_of(sample, videos, of=count) for index, sample in inputs.items()
            }
            with gated(share.base, settings, share.step_noise) as gate:
                gate.stepper = _visiting(of_share, videos, gate, on_output)
                share.base.run(share.conditions, share.noise, share.video)


def _visiting(
    inputs: Mapping[int, torch.Tensor],
    videos: slice,
    gate: Gate,
    on_output: Callable[[Visit], None],
) -> Stepper:
    def step(call: StepCall) -> torch.Tensor:
        if call.index in inputs:
            on_output(
                Visit(
                    call.index,
                    call.process,
                    call.sample,
                    call.output,
                    videos,
                    gate.take_distance(),
                )
            )
        following = inputs.get(call.index + 1)
        return call.sample.detach() if following is None else following.to(call.sample.device)

    return step


def _shares(batch: Batch) -> list[tuple[slice, Batch]]:
    """The batch as the pipeline takes it: whole, or video by video; with the videos of each part."""
    if not batch.base.family.one_video_per_call:
        return [(slice(0, len(batch.conditions)), batch)]
    return [
        (
            slice(index, index + 1),
            Batch(
                batch.base,
                conditions,
                batch.noise[index : index + 1],
                batch.video,
                batch.step_noise[index : index + 1],
            ),
        )
        for index, conditions in enumerate(batch.conditions.each())
    ]


def _calls(batch: Batch) -> dict[str, Any]:
    """What the gate must know of the pipeline's calls."""
    family = batch.base.family
    return {
        "videos": 1 if family.one_video_per_call else len(batch.conditions),
        "calls": family.calls(batch.base.pipeline, batch.video),
    }


def _branches(method: MethodSettings) -> frozenset[Branch]:
    return _EVERY_BRANCH if method.guidance_gradient == "both" else _CONDITIONAL


@dataclass(frozen=True)
class _Run:
    """What one call of the pipeline gave."""

    latents_BCfHW: torch.Tensor
    distance: torch.Tensor | None
    prefix_seconds: float
    last_k_seconds: float


def _run(batch: Batch, settings: GateSettings, stepper: Stepper | None = None) -> _Run:
    clock = batch.base.compute.clock
    began = clock()
    with gated(batch.base, settings, batch.step_noise) as gate:
        gate.stepper = stepper
        latents_BCfHW = batch.base.run(batch.conditions, batch.noise, batch.video)
    ended = clock()
    tail_began = gate.tail_began_at or ended
    return _Run(latents_BCfHW, gate.take_distance(), tail_began - began, ended - tail_began)


@contextmanager
def _dropout_seed(batch: Batch) -> Iterator[None]:
    """Makes the adapter's dropout masks depend on `batch.step_noise` alone."""
    if not any(dropouts(denoiser) for denoiser in batch.base.denoisers.values()):
        yield
        return
    device = batch.base.compute.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=batch.step_noise[0])))
        yield
