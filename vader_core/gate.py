"""The gate at the denoiser: which of a sampler's calls carry gradient, and how.

A pipeline's own loop calls a denoiser once or twice per step. The gate stands in for the denoisers'
`forward` during one rollout and decides for every call, by the number of scheduler steps done:

- in steps without gradient: no graph and no checkpoints;
- in steps with gradient: for the chosen guidance branches. Where a pipeline stacks both branches in
  one call of batch 2B and only the conditional one carries gradient, the call is split;
- in steps that are skipped: no call at all, zeros stand for the prediction.

In steps with gradient it can also wrap the denoiser's blocks in activation checkpoints and measure how
far the adapted prediction is from the base model's. What the scheduler makes of a prediction can be
taken over too (`vader_core.stepping`). docs/decisions/0001-gate-at-the-denoiser.md says why here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch.utils.checkpoint import checkpoint

from vader_core.base_models import BaseModel
from vader_core.errors import SpecUnusable
from vader_core.families.family import Branch, GuidanceCalls
from vader_core.lora_layers import adapter_off, dropout_on
from vader_core.patching import replaced
from vader_core.stepping import Stepper, counted_steps


@dataclass(frozen=True)
class GateSettings:
    """What the gate is to do for a batch of `videos`.

    `calls` are the denoiser's calls of one step, each with the guidance branches that it stacks. Steps
    are counted from 0, or from the end as -1, -2, ...: those of `gradient_steps` carry gradient, and only
    those of `steps_run` call the denoiser (None: all). Without `graph` the steps of `gradient_steps` are
    computed as they would be with gradient, call by call, but leave no graph and drop nothing out.
    `conditional_only` answers the unconditional branch with the conditional prediction, so that the guided
    prediction is the conditional one.
    `detach_input` stops the gradient at the denoiser's input.
    """

    videos: int
    calls: GuidanceCalls
    gradient_steps: frozenset[int] = frozenset()
    branches_with_gradient: frozenset[Branch] = frozenset()
    steps_run: frozenset[int] | None = None
    graph: bool = True
    conditional_only: bool = False
    detach_input: bool = False
    checkpointing: bool = False
    measure_distance: bool = False


@dataclass(frozen=True)
class Call:
    """One call of a denoiser."""

    denoiser: Any
    forward: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def detached(self) -> Call:
        """The call with inputs that pass no gradient on."""

        def cut(value: Any) -> Any:
            return value.detach() if isinstance(value, torch.Tensor) else value

        return Call(
            self.denoiser,
            self.forward,
            tuple(cut(value) for value in self.args),
            {name: cut(value) for name, value in self.kwargs.items()},
        )

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
# Forward-equivalents of a prediction with gradient: backward is worth two, a checkpoint one more.
_WITH_BACKWARD, _WITH_CHECKPOINT = 3, 4


class Gate:
    """Stands in for the denoisers' `forward` during one rollout. Use by `gated`.

    `stepper` takes over what becomes of every prediction; None leaves it to the scheduler.
    """

    def __init__(self, base: BaseModel, settings: GateSettings) -> None:
        self._base, self._settings = base, settings
        self._step = 0
        self._calls_in_step = 0
        self._conditional: Predictions | None = None
        self._distances: list[torch.Tensor] = []
        self.tail_began_at: float | None = None
        self.stepper: Stepper | None = None

    def take_distance(self) -> torch.Tensor | None:
        """Mean squared distance of adapted and base prediction over the calls with gradient since the
        last time that this was asked for."""
        distances, self._distances = self._distances, []
        return torch.stack(distances).mean() if distances else None

    @property
    def step(self) -> int:
        """The scheduler's steps done so far."""
        return self._step

    def step_done(self) -> None:
        """To be told after every scheduler step."""
        self._step += 1
        self._calls_in_step = 0
        self._conditional = None

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
        if self._settings.steps_run is not None and not self._is_among(self._settings.steps_run):
            return self._nothing(call)
        if not self._is_among(self._settings.gradient_steps):
            return self._by_branch(call, branches, gradient=dict.fromkeys(branches, False))
        if self.tail_began_at is None:
            self.tail_began_at = self._base.compute.clock()
        wanted = self._settings.branches_with_gradient
        return self._by_branch(call, branches, gradient={name: name in wanted for name in branches})

    def _by_branch(
        self, call: Call, branches: tuple[Branch, ...], *, gradient: Mapping[Branch, bool]
    ) -> Predictions:
        """The prediction of a call that stacks `branches`, split where they are not treated alike."""
        alone = self._settings.conditional_only
        if alone and "cond" not in branches:
            return self._conditional_before()
        if len(branches) == 1 or (len(set(gradient.values())) == 1 and not alone):
            predicted = self._predict(call, gradient=gradient[branches[0]], branches=len(branches))
            if branches == ("cond",):
                self._conditional = predicted
            return predicted
        shares = call.split(
            len(branches), videos=self._settings.videos, never=self._base.family.never_split
        )
        by_name = {
            name: self._predict(share, gradient=gradient[name], branches=1)
            for name, share in zip(branches, shares, strict=True)
            if name == "cond" or not alone
        }
        self._conditional = by_name["cond"]
        rows = [by_name.get(name, by_name["cond"]) for name in branches]
        return tuple(torch.cat(same) for same in zip(*rows, strict=True))

    def _conditional_before(self) -> Predictions:
        """The conditional prediction of an earlier call of this step."""
        if self._conditional is None:
            raise SpecUnusable(
                f"{self._base.row.id} predicts without the prompt before it predicts with it: "
                "the prediction with the prompt cannot stand in for the other.",
                hint="Set video.guidance_scale to 1, or use method ddpo, grpo or reward_gradient "
                "(with base_sample_weight 0).",
            )
        return self._conditional

    def _is_among(self, steps: frozenset[int]) -> bool:
        count = len(self._base.pipeline.scheduler.timesteps)
        return self._step in steps or self._step - count in steps

    def _nothing(self, call: Call) -> Predictions:
        """Zeros of the shape of the call's prediction, which is asked for once per shape of the input."""
        shapes = self._base.prediction_shapes
        key = (
            id(call.denoiser),
            *(
                tuple(value.shape)
                for value in (*call.args, *call.kwargs.values())
                if isinstance(value, torch.Tensor)
            ),
        )
        if key not in shapes:
            with torch.no_grad():
                shapes[key] = [tuple(one.shape) for one in self._run(call)]
        compute = self._base.compute
        return tuple(
            torch.zeros(shape, device=compute.device, dtype=compute.precise_dtype)
            for shape in shapes[key]
        )

    def _predict(self, call: Call, *, gradient: bool, branches: int) -> Predictions:
        predictions = self._settings.videos * branches
        if not (gradient and self._settings.graph):
            self._base.denoiser_forwards += predictions
            with torch.no_grad():
                return self._run(call)
        if self._settings.detach_input:
            call = call.detached()
        with self._differentiable(call.denoiser):
            predicted = self._run(call)
        self._base.denoiser_forwards += predictions * (
            _WITH_CHECKPOINT if self._settings.checkpointing else _WITH_BACKWARD
        )
        if self._settings.measure_distance:
            self._base.denoiser_forwards += predictions
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
    base: BaseModel,
    settings: GateSettings,
    step_noise: Sequence[torch.Generator],
) -> Iterator[Gate]:
    """Puts a gate before the denoisers of `base` and takes it away again.

    `step_noise` holds one CPU generator per video. A scheduler that adds noise draws a video's noise
    from its own generator, so that it does not depend on which videos share the batch. The gate's
    `stepper` may be set inside.
    """
    gate = Gate(base, settings)
    with ExitStack() as stack:
        for denoiser in base.denoisers.values():
            forward = functools.partial(gate.call, denoiser, denoiser.forward)
            stack.enter_context(replaced(denoiser, "forward", forward))
        stack.enter_context(counted_steps(base.pipeline.scheduler, gate, step_noise))
        yield gate
