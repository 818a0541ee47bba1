"""Which denoising steps carry gradient in one rollout, and which are learnt from by themselves.

The last K are DRaFT-K's (arXiv 2309.17400) and VADER's (arXiv 2407.08737) choice; the last k, k random,
is AlignProp's truncation (arXiv 2310.03739). Random and evenly spread steps cut the chain between them:
the steps that are not chosen pass gradient on through the sampler's arithmetic alone.

Deviations: every choice is made for one micro-batch, from its own random numbers; AlignProp's k may be
bounded, and is at least 1.

Steps are counted from 0, which sees the most noise, of N.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vader_core import seeds
from vader_core.method_spec import RewardGradient
from vader_core.spec import JobSpec


def choose(
    method: RewardGradient, *, inference_steps: int, generator: torch.Generator
) -> frozenset[int]:
    """The steps of `inference_steps` that are to carry gradient; as many for `random` as for `even`.

    `generator` is on the CPU and only drawn from where something is random.
    """
    count = min(method.differentiable_steps, inference_steps)
    if method.given_steps is not None:
        return frozenset(method.given_steps)
    if method.step_choice == "random":
        legal = method.steps_in_range(inference_steps)
        order = torch.randperm(len(legal), generator=generator).tolist()
        return frozenset(legal[place] for place in order[:count])
    if method.step_choice == "even":
        legal = method.steps_in_range(inference_steps)
        return frozenset(legal[place] for place in _spread(count, len(legal), generator))
    if method.step_choice == "random_last":
        count = 1 + _below(count, generator)
    return frozenset(range(inference_steps - count, inference_steps))


def drawn_steps(
    spec: JobSpec, steps: Sequence[int], *, step: int, index: int, count: int | None
) -> list[int]:
    """`count` of `steps`, each at most once, in order; None means all.

    Drawn anew in every training step `step` and for every `index`, the number of a video.
    """
    generator = seeds.generator(spec.seed, step=step, purpose="trained steps", index=index)
    order = torch.randperm(len(steps), generator=generator).tolist()
    return sorted(steps[place] for place in order[:count])


def _spread(count: int, places: int, generator: torch.Generator) -> list[int]:
    """`count` distinct places of `places` at equal distances, up to rounding; each is as likely.

    For every offset o < places the numbers o + j * places, j < count, lie below count * places, and over
    all offsets each comes up once: divided by `count` they are legal, distinct and evenly likely places.
    """
    offset = _below(places, generator)
    return [(offset + j * places) // count for j in range(count)]


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))
