"""The learning rate of a step."""

from __future__ import annotations

import math

from vader_core.method_spec import MethodSettings


def learning_rate(method: MethodSettings, *, step: int, steps_total: int) -> float:
    """The rate for step `step` (from 0) of `steps_total`.

    It rises linearly over `warmup_steps` to its full value, then stays (`constant`) or falls to 0 at
    the end, on a line (`linear`) or half a cosine wave (`cosine`).
    """
    if step < method.warmup_steps:
        return method.learning_rate * (step + 1) / method.warmup_steps
    falling_steps = max(steps_total - method.warmup_steps, 1)
    progress = min((step - method.warmup_steps) / falling_steps, 1.0)
    shapes = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }
    return method.learning_rate * shapes[method.lr_schedule]
