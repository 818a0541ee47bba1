"""Worlds of scores for `benchmarks.verdict`: held-out scores of a base model and of an adapter, drawn at random.

A draw gives base and adapter scores of shape (runs, prompts, seeds). Prompts differ (a random level of
each) and so do the seeds of a prompt. In the worlds of `NOTHING_CHANGED` the adapter's scores are
fresh draws from the very distribution of the base model's. In those of `EVEN_CHANGES` and `LOPSIDED`
the adapter does change prompts, up or down, by amounts whose mean over all prompts there are is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int, int]], "Drawn"]


class Drawn(NamedTuple):
    """Scores (runs, prompts, seeds) of both models."""

    base: Scores
    adapter: Scores


Shape = tuple[int, int, int]


def _levels(shape: Shape) -> Shape:
    """One for each prompt."""
    return (*shape[:2], 1)


def bell(rng: np.random.Generator, shape: Shape) -> Drawn:
    level = rng.normal(0, 1, _levels(shape))
    return Drawn(level + rng.normal(0, 0.5, shape), level + rng.normal(0, 0.5, shape))


def heavy_tails(rng: np.random.Generator, shape: Shape) -> Drawn:
    level = rng.normal(0, 1, _levels(shape))
    return Drawn(level + rng.standard_t(3, shape), level + rng.standard_t(3, shape))


def sure_classifier(rng: np.random.Generator, shape: Shape) -> Drawn:
    """Probabilities near 0 or 1, around a level of the prompt that is itself mostly near 0 or 1."""
    level = rng.beta(0.3, 0.3, _levels(shape))
    a, b = 2 * level + 1e-3, 2 * (1 - level) + 1e-3
    return Drawn(rng.beta(a, b, shape), rng.beta(a, b, shape))


def low_probabilities(rng: np.random.Generator, shape: Shape) -> Drawn:
    """Mostly small probabilities: log odds of -3 on average."""
    level = rng.normal(-3, 1.5, _levels(shape))
    return Drawn(*(1 / (1 + np.exp(-level - rng.normal(0, 1, shape))) for _ in range(2)))


def hit_or_miss(rng: np.random.Generator, shape: Shape) -> Drawn:
    """A detector that is sure: 0 or 1, each for half of the videos, with a little blur."""
    return _hits(rng, shape, 0.5)


def rare_hits(rng: np.random.Generator, shape: Shape) -> Drawn:
    """The same with 5 % hits."""
    return _hits(rng, shape, 0.05)


def _hits(rng: np.random.Generator, shape: Shape, rate: float) -> Drawn:
    return Drawn(*((rng.random(shape) < rate) + rng.normal(0, 0.01, shape) for _ in range(2)))


def whole_numbers(rng: np.random.Generator, shape: Shape) -> Drawn:
    """Counts, as a black box may give: many differences are alike or 0."""
    level = rng.gamma(2, 1, _levels(shape))
    return Drawn(*(rng.poisson(level, shape).astype(float) for _ in range(2)))


def skewed(rng: np.random.Generator, shape: Shape) -> Drawn:
    """Positive scores with a long upper tail."""
    level = rng.lognormal(0, 1, _levels(shape))
    return Drawn(*(level * rng.lognormal(0, 0.3, shape) for _ in range(2)))


def _changed(
    rng: np.random.Generator, shape: Shape, change: Callable[[Shape], Scores], noise: float
) -> Drawn:
    base = rng.normal(0, 1, _levels(shape)) + rng.normal(0, noise, shape)
    return Drawn(base, base + change(_levels(shape)) + rng.normal(0, noise, shape))


def even_changes(rng: np.random.Generator, shape: Shape) -> Drawn:
    """Prompts go up or down by normal amounts."""
    return _changed(rng, shape, lambda levels: rng.normal(0, 1, levels), 0.5)


def heavy_changes(rng: np.random.Generator, shape: Shape) -> Drawn:
    """A few prompts go up or down by much."""
    return _changed(rng, shape, lambda levels: rng.standard_t(3, levels), 0.2)


def somewhat_lopsided(rng: np.random.Generator, shape: Shape) -> Drawn:
    """Changes like half a bell (skewness 1), less their mean."""
    return _changed(
        rng, shape, lambda levels: np.abs(rng.normal(0, 1, levels)) - np.sqrt(2 / np.pi), 0.5
    )


def lopsided(rng: np.random.Generator, shape: Shape) -> Drawn:
    """Changes that fall off exponentially (skewness 2), less their mean."""
    return _changed(rng, shape, lambda levels: rng.exponential(1, levels) - 1, 0.5)


def few_gain(rng: np.random.Generator, shape: Shape) -> Drawn:
    """One prompt in five gains 0.4, the others lose 0.1 each."""
    return _changed(rng, shape, lambda levels: np.where(rng.random(levels) < 0.2, 0.4, -0.1), 0.05)


NOTHING_CHANGED: Mapping[str, Draw] = {
    "bell": bell,
    "heavy tails (t, 3 df)": heavy_tails,
    "sure classifier (beta)": sure_classifier,
    "low probabilities": low_probabilities,
    "hit or miss, half": hit_or_miss,
    "hit or miss, 5 %": rare_hits,
    "whole numbers": whole_numbers,
    "skewed (log-normal)": skewed,
}
EVEN_CHANGES: Mapping[str, Draw] = {
    "changes prompts, normal": even_changes,
    "changes prompts, t with 3 df": heavy_changes,
}
LOPSIDED: Mapping[str, Draw] = {
    "skewness 1": somewhat_lopsided,
    "skewness 2": lopsided,
    "one in five gains": few_gain,
}
