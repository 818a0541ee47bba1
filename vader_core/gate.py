"""The gate at the denoiser: which of a sampler's calls carry gradient, and how.

A pipeline's own loop calls a denoiser once or twice per step. The gate stands in for the denoisers'
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
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch.utils.checkpoint import checkpoint

from vader_core.base_models import BaseModel
from vader_core.families.family import Branch, GuidanceCalls
from vader_core.lora_layers import adapter_off, dropout_on
from vader_core.patching import replaced


@dataclass(frozen=True)
class GateSettings:
    """What the gate is to do for a batch of `videos`; no step is differentiable where `differentiable_steps` is 0.

    `calls` are the denoiser's calls of one step, each with the guidance branches that it stacks.
    """

    videos: int
    calls: GuidanceCalls
    differentiable_steps: int
    branches_with_gradient: frozenset[Branch]
    checkpointing: bool
    measure_distance: bool


@dataclass(frozen=True)
class Call:
    """One call of a denoiser."""

    denoiser: Any
    forward: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def split(self, parts: int, *, videos: int, never: frozenset[str]) -> list[Call]:
        """The call, cut along the batch, which stacks `parts` branches of `videos` videos each.

        Tensors with as many rows as that, or a multiple (a row for every frame), are shared out, but
        for the keyword arguments named in `never`.
        """

        def part(name: str, value: Any, index: int) -> Any:
            is_tensor = isinstance(value, torch.Tensor) and value.ndim > 0 and name not in never
            is_batch = is_tensor and len(value) > 0 and len(value) % (parts * videos) == 0
            return value.chunk(parts)[index] if is_batch else value

        return [
            Call(
                self.denoiser,
                self.forward,
                tuple(part("", value, index) for value in self.args),
                {name: part(name, value, index) for name, value in self.kwargs.items()},
            )
            for index in range(parts)
        ]


# What a denoiser returns without a dictionary: the prediction, and what else it predicts.
Predictions = tuple[torch.Tensor, ...]


class Gate:
    """Stands in for the denoisers' `forward` during one rollout. Use by `gated`."""

    def __init__(self, base: BaseModel, settings: GateSettings) -> None:
        self._base, self._settings = base, settings
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

    def call(
        self, denoiser: Any, forward: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Predictions | Transformer2DModelOutput:
        """What `forward`, which is that of `denoiser`, predicts; an output with names where that is asked for."""
        named = kwargs.get("return_dict", True)
        predicted = self._answer(Call(denoiser, forward, args, {**kwargs, "return_dict": False}))
        return Transformer2DModelOutput(predicted[0]) if named else predicted

    def _answer(self, call: Call) -> Predictions:
        branches: tuple[Branch, ...] = self._settings.calls[self._calls_in_step]
        self._calls_in_step += 1
        if self._steps_left() > self._settings.differentiable_steps:
            return self._predict(call, gradient=False)
        if self.tail_began_at is None:
            self.tail_began_at = self._base.compute.clock()
        with_gradient = [branch in self._settings.branches_with_gradient for branch in branches]
        if len(set(with_gradient)) == 1:
            return self._predict(call, gradient=with_gradient[0])
        shares = call.split(
            len(branches), videos=self._settings.videos, never=self._base.family.never_split
        )
        predicted = [
            self._predict(share, gradient=gradient)
            for share, gradient in zip(shares, with_gradient, strict=True)
        ]
        return tuple(torch.cat(same) for same in zip(*predicted, strict=True))

    def _steps_left(self) -> int:
        return len(self._base.pipeline.scheduler.timesteps) - self._steps_done

    def _predict(self, call: Call, *, gradient: bool) -> Predictions:
        if not gradient:
            with torch.no_grad():
                return self._run(call)
        with self._differentiable(call.denoiser):
            predicted = self._run(call)
        if self._settings.measure_distance:
            with torch.no_grad(), adapter_off(call.denoiser):
                reference = self._run(call)
            self._distances.append((predicted[0] - reference[0]).square().mean())
        return predicted

    def _run(self, call: Call) -> Predictions:
        # The scheduler's arithmetic stays in float32 or better, whatever the denoiser computes in.
        with self._base.compute.autocast():
            predicted: Predictions = call.forward(*call.args, **call.kwargs)
        return tuple(one.to(self._base.compute.precise_dtype) for one in predicted)

    @contextmanager
    def _differentiable(self, denoiser: Any) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(dropout_on(denoiser))
            if self._settings.checkpointing:
                for block in self._base.family.blocks(denoiser):
                    forward = functools.partial(_checkpointed, denoiser, block.forward)
                    stack.enter_context(replaced(block, "forward", forward))
            yield


def _checkpointed(denoiser: Any, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # Checkpointing by blocks works for every denoiser, UNet3DConditionModel's included, which has no
    # checkpointing of its own. The recomputation runs long after this call, so it has to switch the
    # adapter's dropout on again by itself.
    return checkpoint(
        forward,
        *args,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), dropout_on(denoiser)),
        **kwargs,
    )


@contextmanager
def gated(
    base: BaseModel, settings: GateSettings, step_noise: Sequence[torch.Generator]
) -> Iterator[Gate]:
    """Puts a gate before the denoisers of `base` and takes it away again.

    `step_noise` holds one CPU generator per video. A scheduler that adds noise draws a video's noise
    from its own generator, so that it does not depend on which videos share the batch.
    """
    gate = Gate(base, settings)
    with ExitStack() as stack:
        for denoiser in base.denoisers.values():
            forward = functools.partial(gate.call, denoiser, denoiser.forward)
            stack.enter_context(replaced(denoiser, "forward", forward))
        stack.enter_context(_counted_steps(base.pipeline.scheduler, gate, step_noise))
        yield gate


@contextmanager
def _counted_steps(
    scheduler: Any, gate: Gate, step_noise: Sequence[torch.Generator]
) -> Iterator[None]:
    """Tells `gate` of every step of `scheduler`, and gives each video its own noise.

    The scheduler's class is replaced and not its method: a pipeline may copy its scheduler, and a copy
    must step by itself and count for nothing.
    """
    plain: Any = type(scheduler)
    takes_generator = "generator" in inspect.signature(plain.step).parameters

    class Counted(plain):  # type: ignore[misc]
        @functools.wraps(plain.step)
        def step(self, model_output: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if takes_generator:
                # Some pipelines hand the scheduler B x F rows, one per frame, video after video.
                rows_per_video = len(model_output) // len(step_noise)
                kwargs["generator"] = [one for one in step_noise for _ in range(rows_per_video)]
            result = super().step(model_output, *args, **kwargs)
            if self is scheduler:
                gate.step_done()
            return result

    Counted.__name__ = plain.__name__
    scheduler.__class__ = Counted
    try:
        yield
    finally:
        scheduler.__class__ = plain
