"""Paired differences over held-out pairs with an interval, and the verdict drawn from it.

Pairs of one prompt under several seeds are not independent: the mean difference of a prompt is one
observation, and the interval is Student's over those. Two cases have no spread to go by:

* With one or two prompts the spread between prompts cannot be told from luck; the interval then comes
  from a single observation x and is x +/- 9.68 |x| (Wall, Boen & Tweedie, "An Effective Confidence
  Interval for the Mean With Samples of Size One and Two", The American Statistician 55(2), 2001). It
  always holds 0, so three prompts are the fewest that can carry a verdict.
* Where all prompts differ by the very same amount (scores in steps, say), only the signs are evidence:
  n of them agree by chance with probability 2 * 2**-n, which is below 5 % from six prompts on. With
  fewer, the interval is that of a single observation.

A verdict also asks that the difference counts as one at all (`resolution`). How often it is wrong, and
what was tried besides Student's interval, stands in docs/verdict.md, which `benchmarks.verdict` writes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from vader_core import student
from vader_core.lines import RewardDifference, Verdict
from vader_core.plan import FEWEST_PROMPTS

_ERROR_RATE = 0.05
_ONE_OBSERVATION = 9.68
# Eight times float32's relative step, for scores that are sums of a few float32 numbers.
_ROUNDING = 1e-6
# A label that never occurs has a probability of dust, which training may make a thousand times as much
# of the same: less than one part in a thousand of a bounded score is not worth a verdict.
_LEAST_PART_OF_RANGE = 1e-3


def resolution(
    scores: Sequence[float], score_range: tuple[float | None, float | None] = (None, None)
) -> float:
    """The smallest difference between `scores` that counts as one.

    A millionth of the largest (rounding), or a thousandth of the range where it is bounded.
    """
    low, high = score_range
    least = 0.0 if low is None or high is None else _LEAST_PART_OF_RANGE * (high - low)
    return max(rounding(scores), least)


def rounding(scores: Sequence[float]) -> float:
    """How far apart two of `scores` may be by rounding alone."""
    return _ROUNDING * max(abs(score) for score in scores)


def prompt_differences(
    base: Sequence[float], adapter: Sequence[float], *, prompt_ids: Sequence[str]
) -> list[float]:
    """The mean of adapter - base over the pairs of each prompt.

    The three sequences go pair by pair and are of one length, at least 1.
    """
    by_prompt: dict[str, list[float]] = {}
    for before, after, prompt_id in zip(base, adapter, prompt_ids, strict=True):
        by_prompt.setdefault(prompt_id, []).append(after - before)
    return [statistics.fmean(of_prompt) for of_prompt in by_prompt.values()]


def paired_difference(
    base: Sequence[float],
    adapter: Sequence[float],
    *,
    prompt_ids: Sequence[str],
    resolution: float = 0.0,
    looks: int = 1,
) -> RewardDifference:
    """Means of both, and of adapter - base with its 95 % interval. Every prompt counts alike.

    `looks` is the number of adapter states of which this one was chosen by its score on the same pairs.
    The interval then holds for all of them at once (Bonferroni): the best of several looks good by luck.
    """
    differences = prompt_differences(base, adapter, prompt_ids=prompt_ids)
    delta = statistics.fmean(differences)
    half = _half_width(differences, alike_within=rounding([*base, *adapter]), looks=looks)
    return RewardDifference(
        base=statistics.fmean(base),
        adapter=statistics.fmean(adapter),
        delta=delta,
        delta_ci95=(delta - half, delta + half),
        resolution=resolution,
    )


def _half_width(differences: Sequence[float], *, alike_within: float, looks: int) -> float:
    count, mean = len(differences), statistics.fmean(differences)
    if count < FEWEST_PROMPTS:
        return looks * _ONE_OBSERVATION * abs(mean)
    spread = statistics.stdev(differences)
    agree_by_chance = 2.0 ** (1 - count)
    if spread <= alike_within and agree_by_chance > _ERROR_RATE / looks:
        return looks * _ONE_OBSERVATION * abs(mean)
    return student_half_width(spread, count, looks=looks)


def student_half_width(spread: float, count: int, *, looks: int = 1) -> float:
    """Half the interval of the mean of `count` (at least 2) observations with the deviation `spread`."""
    quantile = student.quantile(count - 1, 1 - _ERROR_RATE / looks / 2)
    return quantile * spread / math.sqrt(count)


def unpaired_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    first_prompts: Sequence[str],
    second_prompts: Sequence[str],
    resolution: float = 0.0,
) -> RewardDifference | None:
    """second - first with Welch's 95 % interval, for scores of different prompts or seeds.

    Every prompt's mean is one observation. None where one side has fewer than two prompts, or no spread
    at all on either side: nothing then says how far luck reaches.
    """
    before, after = _prompt_means(first, first_prompts), _prompt_means(second, second_prompts)
    if min(len(before), len(after)) < 2:
        return None
    parts = [statistics.variance(means) / len(means) for means in (before, after)]
    if sum(parts) <= rounding([*first, *second]) ** 2:
        return None
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(means) - 1) for part, means in zip(parts, (before, after), strict=True)
    )
    half = student.quantile(freedom, 1 - _ERROR_RATE / 2) * math.sqrt(sum(parts))
    delta = statistics.fmean(after) - statistics.fmean(before)
    return RewardDifference(
        base=statistics.fmean(before),
        adapter=statistics.fmean(after),
        delta=delta,
        delta_ci95=(delta - half, delta + half),
        resolution=resolution,
    )


def _prompt_means(scores: Sequence[float], prompt_ids: Sequence[str]) -> list[float]:
    return prompt_differences([0.0] * len(scores), scores, prompt_ids=prompt_ids)


def verdict(difference: RewardDifference) -> Verdict:
    """`improved` or `worse` when the whole interval lies on one side of 0 and the difference counts."""
    low, high = difference.delta_ci95
    if abs(difference.delta) <= difference.resolution:
        return "no_clear_difference"
    if low > 0:
        return "improved"
    return "worse" if high < 0 else "no_clear_difference"
