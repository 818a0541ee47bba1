"""How much a method needs to reach a reward: crossings on curves that are known at a few points only."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# What was used so far and the held-out reward then, in the order of training.
Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Band:
    """Mean, lowest and highest value over the seeds at one point of training; `x` is a mean too."""

    x: float
    mean: float
    low: float
    high: float


def bands(curves: Sequence[Curve]) -> list[Band]:
    """The curves of several seeds, point by point; where one ends early, so do the bands."""
    found = []
    for points in zip(*curves, strict=False):
        values = [value for _, value in points]
        x = statistics.fmean(x for x, _ in points)
        found.append(Band(x, statistics.fmean(values), min(values), max(values)))
    return found


def mean_curve(curves: Sequence[Curve]) -> Curve:
    return [(band.x, band.mean) for band in bands(curves)]


def first_reached(curve: Curve, target: float) -> float | None:
    """Where the curve, straight between its points, first comes to `target`; None where it never does."""
    if curve and curve[0][1] >= target:
        return curve[0][0]
    for (x, value), (next_x, next_value) in itertools.pairwise(curve):
        if next_value >= target:
            return x + (next_x - x) * (target - value) / (next_value - value)
    return None


def value_at(curve: Curve, x: float) -> float | None:
    """The curve's value at `x`, straight between its points; None beyond its ends."""
    for (left, value), (right, next_value) in itertools.pairwise(curve):
        if left <= x <= right:
            share = (x - left) / (right - left) if right > left else 0.0
            return value + share * (next_value - value)
    return None


@dataclass(frozen=True)
class Reached:
    """What a method needed to reach a baseline's final reward, `target`.

    `needed` is read off the mean curve of all seeds, None where it never comes there; `seen_at` is its first
    point there. `by_seed` has what the single seeds needed. `ratio` is what the baseline itself needed over `needed`: above 1 the method is cheaper.
    """

    target: float
    needed: float | None
    seen_at: float | None
    by_seed: tuple[float | None, ...]
    ratio: float | None


def compare(baseline: Sequence[Curve], method: Sequence[Curve]) -> Reached | None:
    """Reaching the baseline's final mean reward; None where the baseline ended no higher than it began."""
    own = mean_curve(baseline)
    start, target = own[0][1], own[-1][1]
    if target <= start:
        return None
    baseline_needed = first_reached(own, target)
    rising = mean_curve(method)
    needed = first_reached(rising, target)
    return Reached(
        target=target,
        needed=needed,
        seen_at=next((x for x, value in rising if value >= target), None),
        by_seed=tuple(first_reached(curve, target) for curve in method),
        ratio=baseline_needed / needed if needed and baseline_needed is not None else None,
    )
