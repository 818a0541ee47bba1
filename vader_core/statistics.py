"""Paired differences over held-out pairs with an interval, and the verdict drawn from it.

Pairs of one prompt under several seeds are not independent: the mean difference of a prompt is one
observation, and the interval is Student's over those. With one or two prompts the spread between
prompts cannot be told from luck; the interval then comes from a single observation x and is
x +/- 9.68 |x| (Wall, Boen & Tweedie, "An Effective Confidence Interval for the Mean With Samples of
Size One and Two", The American Statistician 55(2), 2001). It always holds 0, so three prompts are the
fewest that can carry a verdict.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import special

from vader_core.lines import RewardDifference, Verdict

_CONFIDENCE = 0.95
_FEWEST_PROMPTS = 3
_ONE_OBSERVATION = 9.68


def paired_difference(
    base: Sequence[float], adapter: Sequence[float], *, prompt_ids: Sequence[str]
) -> RewardDifference:
    """Means of both, and of adapter - base with its 95 % interval.

    The three sequences go pair by pair and are of one length, at least 1. Every prompt counts alike.
    """
    by_prompt: dict[str, list[float]] = {}
    for before, after, prompt_id in zip(base, adapter, prompt_ids, strict=True):
        by_prompt.setdefault(prompt_id, []).append(after - before)
    differences = [statistics.fmean(of_prompt) for of_prompt in by_prompt.values()]
    delta = statistics.fmean(differences)
    half = _half_width(differences)
    return RewardDifference(
        base=statistics.fmean(base),
        adapter=statistics.fmean(adapter),
        delta=delta,
        delta_ci95=(delta - half, delta + half),
    )


def _half_width(differences: list[float]) -> float:
    count = len(differences)
    if count < _FEWEST_PROMPTS:
        return _ONE_OBSERVATION * abs(statistics.fmean(differences))
    quantile = float(special.stdtrit(count - 1, 0.5 + _CONFIDENCE / 2))
    return quantile * statistics.stdev(differences) / math.sqrt(count)


def verdict(difference: RewardDifference) -> Verdict:
    """`improved` or `worse` when the whole interval lies on one side of 0."""
    low, high = difference.delta_ci95
    if low > 0:
        return "improved"
    return "worse" if high < 0 else "no_clear_difference"


def highest_plausible_deviation(scores: Sequence[float]) -> float | None:
    """The upper end of the one-sided 99 % interval of the scores' standard deviation.

    None for fewer than two scores. (Chi-square interval of a normal variance.)
    """
    if len(scores) < 2:
        return None
    freedom = len(scores) - 1
    # chdtri inverts the upper tail.
    lowest_1_percent = float(special.chdtri(freedom, 0.99))
    return statistics.stdev(scores) * math.sqrt(freedom / lowest_1_percent)
