"""The gate at the denoiser: which of a sampler's calls carry gradient, and how.

A pipeline's own loop calls the denoiser once or twice per step. The gate stands in for the denoiser's
`forward` during one rollout and decides for every call, by the number of scheduler steps done:

- before the last K steps: no gradient, so no graph and no checkpoints;
- in the last K: gradient for the chosen guidance branches. Where a pipeline stacks both branches in
  one call of batch 2B and only the conditional one carries gradient, the call is split.

In the last K it can also wrap the denoiser's blocks in activation checkpoints and measure how far the
adapted prediction is from the base model's. docs/decisions/0001-gate-at-the-denoiser.md says why here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from vader_core.base_models import BaseModel, Branch
from vader_core.lora_layers import adapter_off, dropout_on
from vader_core.patching import replaced


@dataclass(frozen=True)
class GateSettings:
    """What the gate is to do; no step is differentiable where `differentiable_steps` is 0."""

    guided: bool
    differentiable_steps: int
    branches_with_gradient: frozenset[Branch]
    checkpointing: bool
    measure_distance: bool


@dataclass(frozen=True)
class Call:
    """The arguments of one call of the denoiser."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def split(self, parts: int) -> list[Call]:
        """The call, cut along the batch: tensors of as many rows as the latents are shared out."""
        if parts == 1:
            return [self]
        tensors = [v for v in (*self.args, *self.kwargs.values()) if isinstance(v, torch.Tensor)]
        rows = max(tensor.ndim and tensor.shape[0] for tensor in tensors)

        def part(value: Any, index: int) -> Any:
            is_batch = isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == rows
            return value.chunk(parts)[index] if is_batch else value

        return [
            Call(
                tuple(part(value, index) for value in self.args),
                {name: part(value, index) for name, value in self.kwargs.items()},
            )
            for index in range(parts)
        ]


class Gate:
    """Stands in for one denoiser's `forward` during one rollout. Use by `gated`."""

    def __init__(self, base: BaseModel, settings: GateSettings) -> None:
        self._base, self._settings = base, settings
        self._forward: Callable[..., Any] = base.denoiser.forward
        self._steps_done = 0
        self._calls_in_step = 0
        self._distances: list[torch.Tensor] = []
        self.tail_began_at: float | None = None

    @property
    def distance(self) -> torch.Tensor | None:
        """Mean squared distance of adapted and base prediction over the calls with gradient."""
        return torch.stack(self._distances).mean() if self._distances else None

    def step_done(self) -> None:
        """To be told after every scheduler step."""
        self._steps_done += 1
        self._calls_in_step = 0

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor]:
        calls = self._base.family.guidance_calls if self._settings.guided else (("cond",),)
        branches: tuple[Branch, ...] = calls[self._calls_in_step]
        self._calls_in_step += 1
        call = Call(args, kwargs)
        if self._steps_left() > self._settings.differentiable_steps:
            return (self._predict(call, gradient=False),)
        if self.tail_began_at is None:
            self.tail_began_at = self._base.compute.clock()
        with_gradient = [branch in self._settings.branches_with_gradient for branch in branches]
        if len(set(with_gradient)) == 1:
            return (self._predict(call, gradient=with_gradient[0]),)
        parts = zip(call.split(len(branches)), with_gradient, strict=True)
        return (torch.cat([self._predict(part, gradient=gradient) for part, gradient in parts]),)

    def _steps_left(self) -> int:
        return len(self._base.pipeline.scheduler.timesteps) - self._steps_done

    def _predict(self, call: Call, *, gradient: bool) -> torch.Tensor:
        if not gradient:
            with torch.no_grad():
                return self._run(call)
        with self._differentiable():
            prediction = self._run(call)
        if self._settings.measure_distance:
            with torch.no_grad(), adapter_off(self._base.denoiser):
                reference = self._run(call)
            self._distances.append((prediction - reference).square().mean())
        return prediction

    def _run(self, call: Call) -> torch.Tensor:
        # The scheduler's arithmetic stays in float32 or better, whatever the denoiser computes in.
        with self._base.compute.autocast():
            prediction: torch.Tensor = self._forward(*call.args, **call.kwargs)[0]
        return prediction.to(self._base.compute.precise_dtype)

    @contextmanager
    def _differentiable(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(dropout_on(self._base.denoiser))
            if self._settings.checkpointing:
                for block in self._base.family.blocks(self._base.denoiser):
                    forward = functools.partial(self._checkpointed, block.forward)
                    stack.enter_context(replaced(block, "forward", forward))
            yield

    def _checkpointed(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # Checkpointing by blocks works for every denoiser, UNet3DConditionModel's included, which
        # has no checkpointing of its own. The recomputation runs long after this call, so it has to
        # switch the adapter's dropout on again by itself.
        return checkpoint(
            forward, *args, use_reentrant=False, context_fn=self._recomputation, **kwargs
        )

    def _recomputation(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), dropout_on(self._base.denoiser)


@contextmanager
def gated(
    base: BaseModel, settings: GateSettings, step_noise: Sequence[torch.Generator]
) -> Iterator[Gate]:
    """Puts a gate before the denoiser of `base` and takes it away again.

    `step_noise` holds one CPU generator per video. A scheduler that adds noise draws a video's noise
    from its own generator, so that it does not depend on which videos share the batch.
    """
    gate = Gate(base, settings)
    scheduler = base.pipeline.scheduler
    step = scheduler.step
    takes_generator = "generator" in inspect.signature(step).parameters

    @functools.wraps(step)
    def counted_step(model_output: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if takes_generator:
            # Some pipelines hand the scheduler B x F rows, one per frame, video after video.
            rows_per_video = len(model_output) // len(step_noise)
            kwargs["generator"] = [one for one in step_noise for _ in range(rows_per_video)]
        result = step(model_output, *args, **kwargs)
        gate.step_done()
        return result

    with replaced(base.denoiser, "forward", gate), replaced(scheduler, "step", counted_step):
        yield gate
