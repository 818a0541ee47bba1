"""What each stage of a training step holds at most, while the step is taken under a ledger.

A step of `reward_gradient` samples without and then with a graph, decodes, scores and goes back through
the graph. Of the steps that a rollout may give a gradient to, the most are taken, and the last ones:
where the others lie does not change what their graphs hold.

All other methods sample and score whole videos without any graph, and learn from one denoising step at a
time, by guided predictions (policies) or by conditional ones. Their losses are of the size of latents, so
that one is as good as another here. Of the micro-batches of a step that are learnt from later, the finished
latents wait beside those at work; what the samplers went through on the way, and where the base model
would have gone, wait on the CPU.

Letters: B videos, F frames, R rows of a scheduler's batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vader_core import frames, rollout, seeds
from vader_core.base_models import BaseModel
from vader_core.devices import Compute
from vader_core.evaluation import decoded_whole
from vader_core.families.family import Conditions, required_size
from vader_core.gradient import staged_gradient
from vader_core.memory_kernels import cuda_kernels
from vader_core.memory_ledger import Ledger
from vader_core.method_spec import Ddpo, Grpo, RewardGradient
from vader_core.objective import Objective
from vader_core.rewards import score_in_parts
from vader_core.rollout import Batch, Visit
from vader_core.spec import JobSpec, Prompt

# Further steps add nothing to the first, but a few latents that multistep schedulers remember.
_STEPS_BEFORE = 1


@dataclass(frozen=True)
class Counting(Compute):
    """Computes nothing: `ledger` counts. The trainer reads the clock between its stages."""

    ledger: Ledger

    def autocast(self) -> torch.autocast:
        # What `memory_kernels` reads; tensors on the meta device have no autocast of their own.
        return torch.autocast("cpu", dtype=self.dtype, enabled=self.is_mixed)

    def clock(self) -> float:
        self.ledger.mark()
        return 0.0


def stages(
    base: BaseModel,
    objective: Objective,
    spec: JobSpec,
    conditions: Conditions,
    ledger: Ledger,
) -> dict[str, int]:
    """The most that each stage of a step holds besides what `ledger` holds already.

    `base` computes with `Counting`: on the meta device nothing, on another device for real.
    """
    held, method = ledger.live, spec.method
    del ledger.peaks[:]
    if isinstance(method, RewardGradient):
        peaks = _gradient_stages(base, objective, spec, method, conditions, ledger)
    else:
        peaks = _online_stages(base, objective, spec, conditions, ledger)
    return {name: peak - held for name, peak in peaks.items()}


def _gradient_stages(
    base: BaseModel,
    objective: Objective,
    spec: JobSpec,
    method: RewardGradient,
    conditions: Conditions,
    ledger: Ledger,
) -> dict[str, int]:
    with ledger, cuda_kernels():
        batch = _batch(base, spec, conditions, steps=method.steps_chosen + _STEPS_BEFORE)
        chosen = frames.chosen(
            method.frames,
            num_frames=required_size(spec.video)[0],
            generators=batch.step_noise,
        )
        last = rollout.last_steps(method.steps_chosen)
        made = rollout.sample(batch, method=method, gradient_steps=last)
        # The clock is read before, between and after the two parts of every call of the pipeline.
        sampling = _taken(ledger)
        staged_gradient(made, objective.reward, prompts_of(spec), chosen=chosen, method=method)
    _, decoded, scored, pulled_back, backward = _taken(ledger)
    return {
        "prefix": max(sampling[1::3]),
        "last_k": max(sampling[2::3]),
        "decode": max(decoded, pulled_back),
        "reward": scored,
        "backward": backward,
    }


def _online_stages(
    base: BaseModel, objective: Objective, spec: JobSpec, conditions: Conditions, ledger: Ledger
) -> dict[str, int]:
    chunk = spec.method.decode_chunk_frames
    with ledger, cuda_kernels():
        batch = _batch(base, spec, conditions, steps=1 + _STEPS_BEFORE)
        trajectory = rollout.record(batch)
        sampling = _peak(ledger)
        frames_BFCHW = decoded_whole(base, trajectory.latents_BCfHW, spec.video, chunk_frames=chunk)
        decode = _peak(ledger)
        with torch.no_grad():
            for term in objective.reward.terms:
                score_in_parts(term.reward, frames_BFCHW, prompts_of(spec), chunk_frames=chunk)
        del frames_BFCHW
        reward = _peak(ledger)
        rollout.visit(
            batch,
            inputs={0: trajectory.at(0)},
            on_output=_learn,
            method=spec.method,
            gradient=True,
            conditional_only=not isinstance(spec.method, Ddpo | Grpo),
        )
        learning = _peak(ledger)
    waiting = (spec.method.gradient_accumulation - 1) * trajectory.latents_BCfHW.nbytes
    return {
        "sampling": sampling + waiting,
        "decode": decode + waiting,
        "reward": reward + waiting,
        "learning": learning + waiting,
    }


def _learn(visit: Visit) -> None:
    """As a loss of squared predictions would."""
    torch.autograd.backward(visit.output, visit.output.detach())


def _peak(ledger: Ledger) -> int:
    """The most that was held since the peaks were last taken, at whatever marks between."""
    ledger.mark()
    return max(_taken(ledger))


def _taken(ledger: Ledger) -> list[int]:
    """The peaks between marks so far, which the ledger forgets."""
    peaks = list(ledger.peaks)
    del ledger.peaks[:]
    return peaks


def _batch(base: BaseModel, spec: JobSpec, conditions: Conditions, *, steps: int) -> Batch:
    """A micro-batch with no more than `steps` steps; where steps decide between denoisers, all of them."""
    method, video = spec.method, spec.video
    if len(base.denoisers) == 1:
        fewest = min(video.inference_steps or 1, steps)
        video = video.model_copy(update={"inference_steps": fewest})
    shape = base.latents_shape(video, batch=method.batch_size)
    generators = [
        seeds.generator(spec.seed, step=0, purpose="memory", index=index)
        for index in range(method.batch_size)
    ]
    noise = torch.zeros(shape, dtype=base.compute.precise_dtype, device=base.compute.device)
    return Batch(base, conditions, noise, video, generators)


def prompts_of(spec: JobSpec) -> list[Prompt]:
    """As many of the spec's prompts as a micro-batch has videos."""
    given = spec.prompts.inline or []
    return [given[index % len(given)] for index in range(spec.method.batch_size)]
