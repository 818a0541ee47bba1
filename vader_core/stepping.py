"""A scheduler's steps during one rollout: counted, with every video's own noise, and taken over where asked.

Letters: R rows of a scheduler's batch. Some pipelines hand it one row per frame, video after video.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers.schedulers.scheduling_utils import SchedulerOutput

from vader_core.process import Process, process_of


@dataclass(frozen=True)
class StepCall:
    """One step of a sampler, before it is taken: `output` (R, ...) was predicted of `sample` (R, ...).

    `output` is the guided prediction. `index` counts from 0. `step_noise` is one CPU generator per video.
    """

    index: int
    output: torch.Tensor
    sample: torch.Tensor
    step_noise: Sequence[torch.Generator]
    scheduler: Any
    own: Callable[[], torch.Tensor]

    @property
    def process(self) -> Process:
        """Raises `SpecUnusable` for a scheduler whose process is not known."""
        return process_of(self.scheduler)

    @property
    def is_last(self) -> bool:
        return self.index == len(self.scheduler.timesteps) - 1

    def normal(self) -> torch.Tensor:
        """Standard normal noise in the shape of `sample`, each video's from its own generator."""
        rows, *shape = self.sample.shape
        of_video = (rows // len(self.step_noise), *shape)
        drawn = [torch.randn(of_video, generator=generator) for generator in self.step_noise]
        return torch.cat(drawn).to(self.sample)


# Says what follows a sample: (R, ...). `StepCall.own` gives what the scheduler itself would make of it.
Stepper = Callable[[StepCall], torch.Tensor]


def rows_of(values: torch.Tensor, videos: slice, *, of: int) -> torch.Tensor:
    """Those rows of `values` (R, ...), which belong to `of` videos, that are of the `videos` among them."""
    each = len(values) // of
    return values[videos.start * each : videos.stop * each]


class Counter(Protocol):
    """Counts a sampler's steps: `step` are those done. `stepper` takes them, None leaves them alone."""

    stepper: Stepper | None

    @property
    def step(self) -> int: ...

    def step_done(self) -> None: ...


@contextmanager
def counted_steps(
    scheduler: Any, counter: Counter, step_noise: Sequence[torch.Generator]
) -> Iterator[None]:
    """Tells `counter` of every step of `scheduler`, and lets its stepper take it where there is one.

    The scheduler's class is replaced and not its method: a pipeline may copy its scheduler, and a copy
    must step by itself and count for nothing.
    """
    plain: Any = type(scheduler)
    signature = inspect.signature(plain.step)

    class Counted(plain):  # type: ignore[misc]
        @functools.wraps(plain.step)
        def step(self, model_output: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if "generator" in signature.parameters:
                rows_per_video = len(model_output) // len(step_noise)
                kwargs["generator"] = [one for one in step_noise for _ in range(rows_per_video)]
            own = functools.partial(super().step, model_output, *args, **kwargs)
            if self is not scheduler:
                return own()
            if counter.stepper is None:
                result = own()
            else:
                given = signature.bind(self, model_output, *args, **kwargs).arguments
                result = _taken(self, given, counter, step_noise, own)
            counter.step_done()
            return result

    Counted.__name__ = plain.__name__
    scheduler.__class__ = Counted
    try:
        yield
    finally:
        scheduler.__class__ = plain


def _taken(
    scheduler: Any,
    given: dict[str, Any],
    counter: Counter,
    step_noise: Sequence[torch.Generator],
    own: Callable[[], Any],
) -> Any:
    """The step as the stepper takes it, in the form that the scheduler's caller expects."""
    results: list[Any] = []

    def own_sample() -> torch.Tensor:
        results.append(own())
        sample: torch.Tensor = results[0][0]
        return sample

    assert counter.stepper is not None
    following = counter.stepper(
        StepCall(
            counter.step,
            given["model_output"],
            given["sample"],
            step_noise,
            scheduler,
            own_sample,
        )
    )
    if not results:
        _count_own_step(scheduler, given["timestep"])
    if given.get("return_dict", True):
        return SchedulerOutput(prev_sample=following)
    # Some schedulers hand back what they remember of the step, besides the sample.
    rest = results[0][1:] if results else (None,) * ("old_pred_original_sample" in given)
    return (following, *rest)


def _count_own_step(scheduler: Any, timestep: Any) -> None:
    """Schedulers that count their own steps have to count those that they did not take."""
    if not hasattr(scheduler, "_step_index"):
        return
    if scheduler.step_index is None:
        scheduler._init_step_index(timestep)
    scheduler._step_index += 1
