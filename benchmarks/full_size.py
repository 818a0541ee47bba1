"""One optimiser step of full-size models with random weights: seconds by stage, memory beside the estimate.

    python -m benchmarks.full_size [--model NAME ...] [--steps N] [--write FILE]
    python -m benchmarks.full_size --small

The architectures are the published ones (vader_core/rows/configs), their weights what the classes begin with: time
and memory do not depend on the values. Every frame is decoded and scored by a CLIP ViT-H/14, K is 1, the batch one
video, the precision bf16. It needs a CUDA device and ends with status 4 where there is none; `--small` goes the same
way with the tiny models on any machine.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vader_core import adapter as adapters
from vader_core import base_models, rollout, seeds
from vader_core.base_models import BaseModel
from vader_core.catalogue import BUILT_IN, Catalogue
from vader_core.devices import Compute
from vader_core.families.family import required_size
from vader_core.frames import Chosen
from vader_core.gradient import staged_gradient
from vader_core.memory import conditions_of, estimate
from vader_core.memory_configs import written
from vader_core.memory_stages import prompts_of
from vader_core.memory_table import MemoryEstimate
from vader_core.method_spec import RewardGradient
from vader_core.objective import Objective, load_objective
from vader_core.optimiser import Optimiser
from vader_core.resolve import check
from vader_core.spec import JobSpec
from vader_core.weights import without_weights

NO_DEVICE = 4
FULL = {
    "modelscope-t2v-1.7b": {"width": 384, "height": 384, "num_frames": 16},
    "videocrafter2": {"width": 512, "height": 320, "num_frames": 16},
    "wan2.1-t2v-1.3b": {"width": 832, "height": 480, "num_frames": 81},
}
SMALL = {
    "tiny-unet": {"width": 16, "height": 16, "num_frames": 2},
    "tiny-wan": {"width": 16, "height": 16, "num_frames": 3},
}
STAGES = ("prefix", "last_k", "decode", "reward", "backward")
_GIB = 2**30


@dataclass(frozen=True)
class Watched(Compute):
    """Notes the most memory held since the clock was last read, which the trainer does between its stages."""

    peaks: list[int] = field(default_factory=list)

    def clock(self) -> float:
        now = super().clock()
        if self.device.type == "cuda":
            self.peaks.append(torch.cuda.max_memory_allocated(self.device))
            torch.cuda.reset_peak_memory_stats(self.device)
        return now


@dataclass(frozen=True)
class Measured:
    """Seconds and, on a GPU, peak bytes of one step by stage; `seconds["optimiser"]` is the update."""

    name: str
    size: str
    seconds: dict[str, float]
    peaks: dict[str, int]
    estimate: MemoryEstimate


def job(name: str, video: dict[str, int], *, small: bool) -> dict[str, Any]:
    """One video a step, all frames scored."""
    prompts = [
        {"prompt": "a red circle moving left", "heldout": False},
        {"prompt": "a blue square moving up", "heldout": True},
    ]
    return {
        "base_model": name,
        "method": {"batch_size": 1, "precision": "fp32" if small else "bf16"},
        "rewards": [{"reward": "tiny-text-match" if small else "hps-v2.1"}],
        "guards": [],
        "prompts": {"inline": prompts},
        "video": {**video, **({"inference_steps": 2} if small else {})},
        "budget": {"max_steps": 1},
    }


def measure(spec: JobSpec, catalogue: Catalogue, compute: Watched, steps: int) -> Measured:
    """The last of `steps` optimiser steps; the others warm up."""
    predicted = estimate(spec, catalogue)
    row_id = spec.base_model.partition("@")[0]
    with without_weights(str(compute.device)):
        base = base_models.load(catalogue.base_models[row_id], compute)
        objective = load_objective(spec, catalogue, compute)
    conditions = conditions_of(base, spec)
    base.drop_text_encoders()
    adapter = adapters.attach(base, spec.adapter, seed=0)
    optimiser = Optimiser(adapter.parameters(), spec.method)
    found: tuple[dict[str, float], dict[str, int]] = ({}, {})
    for _ in range(steps):
        found = _step(base, objective, optimiser, spec, conditions)
    frames, height, width = required_size(spec.video)
    return Measured(row_id, f"{frames}x{height}x{width}", *found, predicted)


def _step(
    base: BaseModel, objective: Objective, optimiser: Optimiser, spec: JobSpec, conditions: Any
) -> tuple[dict[str, float], dict[str, int]]:
    compute, method = base.compute, spec.method
    assert isinstance(method, RewardGradient)
    assert isinstance(compute, Watched)
    generator = seeds.generator(0, step=0, purpose="benchmark", index=0)
    noise = torch.randn(base.latents_shape(spec.video, batch=1), generator=generator)
    every = Chosen(torch.arange(required_size(spec.video)[0])[None])
    optimiser.forget_gradients()
    compute.clock()
    compute.peaks.clear()
    made = rollout.sample(
        rollout.Batch(base, conditions, noise, spec.video, [generator]), method=method
    )
    result = staged_gradient(made, objective.reward, prompts_of(spec), chosen=every, method=method)
    began = compute.clock()
    optimiser.update(learning_rate=method.learning_rate)
    ended = compute.clock()
    seconds = {
        "prefix": made.prefix_seconds,
        "last_k": made.last_k_seconds,
        "decode": result.seconds.decode,
        "reward": result.seconds.reward,
        "backward": result.seconds.backward,
        "optimiser": ended - began,
    }
    if not compute.peaks:
        return seconds, {}
    # Three readings while sampling, five while the gradient is computed, two around the update.
    _, prefix, last_k, _, decoded, scored, pulled_back, backward, *_ = compute.peaks
    peaks = (prefix, last_k, max(decoded, pulled_back), scored, backward)
    return seconds, dict(zip(STAGES, peaks, strict=True))


def table(found: Measured) -> list[str]:
    """A section of the page."""
    predicted = found.estimate
    held = predicted.training - max(predicted.stages.values())
    rows = [
        f"## {found.name}, {found.size}",
        "",
        "| stage | seconds | peak GiB, measured | peak GiB, estimated |",
        "|---|---|---|---|",
    ]
    for stage in STAGES:
        peak = f"{found.peaks[stage] / _GIB:.2f}" if found.peaks else "not measured"
        expected = (held + predicted.stages[stage]) / _GIB
        rows.append(f"| {stage} | {found.seconds[stage]:.3f} | {peak} | {expected:.2f} |")
    rows.append(f"| optimiser | {found.seconds['optimiser']:.3f} | | |")
    rows.append(f"| whole step | {sum(found.seconds.values()):.3f} | | |")
    return [*rows, ""]


def main(arguments: list[str] | None = None) -> int:
    """Writes a Markdown page; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", action="append", choices=[*FULL], help="default: all three")
    parser.add_argument("--steps", type=int, default=2, help="the last one counts")
    parser.add_argument("--small", action="store_true", help="tiny models, on any machine")
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    if not options.small and not torch.cuda.is_available():
        print("The full sizes need a CUDA device; --small runs without one.", file=sys.stderr)
        return NO_DEVICE
    has_cuda = torch.cuda.is_available()
    dtype = torch.float32 if options.small else torch.bfloat16
    command = "python -m benchmarks.full_size " + " ".join(
        sys.argv[1:] if arguments is None else arguments
    )
    device = torch.cuda.get_device_name() if has_cuda else platform.machine()
    page = ["# One step of full-size models", ""]
    page += [f"`{command.strip()}` on {time.strftime('%Y-%m-%d')}, {device},"]
    page += [f"torch {torch.__version__}, Python {platform.python_version()}. Random weights.", ""]
    sizes = SMALL if options.small else {name: FULL[name] for name in options.model or FULL}
    with tempfile.TemporaryDirectory() as folder:
        catalogue = written(BUILT_IN, Path(folder))
        for name, video in sizes.items():
            compute = Watched(torch.device("cuda" if has_cuda else "cpu"), dtype)
            spec = check(job(name, video, small=options.small), catalogue, lambda _: None)
            page += table(measure(spec, catalogue, compute, options.steps))
    text = "\n".join(page)
    print(text)
    if options.write:
        options.write.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
