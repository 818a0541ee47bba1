"""When a run counts as diverged.

The mean training reward of the last 20 steps lies more than 3 standard deviations below the base
model's held-out mean. The standard deviation is that of single base videos, taken at the upper end of
its 99 % interval: few held-out videos then make the rule slower, never jumpier. A mean over 20 steps
that far below single videos' spread cannot be bad luck: the videos have become something else.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from vader_core.errors import Diverged
from vader_core.statistics import highest_plausible_deviation

WINDOW_STEPS = 20
_DEVIATIONS = 3.0


def check(recent_rewards: Sequence[float], base_scores: Sequence[float], *, step: int) -> None:
    """Raises `Diverged`. `recent_rewards` are the last steps' mean rewards, the newest last."""
    deviation = highest_plausible_deviation(base_scores)
    if deviation is None or len(recent_rewards) < WINDOW_STEPS:
        return
    base = statistics.fmean(base_scores)
    recent = statistics.fmean(recent_rewards[-WINDOW_STEPS:])
    if recent < base - _DEVIATIONS * deviation:
        raise Diverged(
            f"The reward of the last {WINDOW_STEPS} steps is {recent:.4g} on average; the base "
            f"model's is {base:.4g}, and its videos spread by {deviation:.2g}.",
            hint="Lower learning_rate, add warmup_steps or a prediction_penalty, or lower "
            "max_grad_norm, and start again.",
            step=step,
        )
