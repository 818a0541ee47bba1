"""When a webhook is tried again: ten tries over about 75 hours."""

from __future__ import annotations

import random

RETRY_DELAYS_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""After the first try, the second and so on: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h."""
JITTER = 0.1
"""Each delay is longer or shorter by at most this part, so that what failed at once is not retried at once."""
MAX_RETRY_AFTER_S = 86_400
"""A receiver's `Retry-After` is honoured up to this."""


def delay_s(tries: int, *, retry_after_s: float | None) -> float | None:
    """Seconds to the next try after `tries` that failed (at least 1); None when that was the last.

    Never sooner than the receiver's `Retry-After` asks for, within the limit.
    """
    if tries > len(RETRY_DELAYS_S):
        return None
    usual = RETRY_DELAYS_S[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (jitter)
    return max(usual, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
