"""When a run counts as diverged.

The mean training reward of the last 20 steps lies more than 3 standard deviations below where the run
began: below the base model's held-out mean, and below the mean of the run's own first 10 steps. The
adapter starts as the base model, but training videos may be made in other ways than held-out ones (from
predictions half way, by a noisy or shorter sampler, for harder prompts), so that a run which changes
nothing may lie far below the base's mean: where a method's videos stand by nature, only its own first
steps can tell. A run that collapses within those is not noticed here.

The standard deviation is the larger of two: that of single base videos, and that of the first steps'
means (videos of steps drawn at random may differ more than held-out ones). Both are taken at the upper
end of their 99 % interval: few values then make the rule slower, never jumpier. A mean over 20 steps
that far down cannot be bad luck: the videos have become something else.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import special

from vader_core.errors import Diverged

WINDOW_STEPS = 20
OPENING_STEPS = 10
_DEVIATIONS = 3.0


def check(
    recent_rewards: Sequence[float],
    opening_rewards: Sequence[float],
    base_scores: Sequence[float],
    *,
    step: int,
) -> None:
    """Raises `Diverged`. The last and the first steps' mean rewards, oldest first; the base's of all pairs."""
    of_videos = highest_plausible_deviation(base_scores)
    of_steps = highest_plausible_deviation(opening_rewards)
    if of_videos is None or of_steps is None or len(recent_rewards) < WINDOW_STEPS:
        return
    base, opening = statistics.fmean(base_scores), statistics.fmean(opening_rewards)
    deviation = max(of_videos, of_steps)
    recent = statistics.fmean(recent_rewards[-WINDOW_STEPS:])
    if recent < min(base, opening) - _DEVIATIONS * deviation:
        raise Diverged(
            f"The reward of the last {WINDOW_STEPS} steps is {recent:.4g} on average; the base "
            f"model's is {base:.4g}, that of the first {OPENING_STEPS} steps {opening:.4g}, and scores "
            f"spread by {deviation:.2g}.",
            hint="Lower learning_rate, add warmup_steps or a prediction_penalty, or lower "
            "max_grad_norm, and start again.",
            step=step,
        )


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
