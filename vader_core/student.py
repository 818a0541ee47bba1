"""Quantiles of Student's t in plain Python, so that whoever compares runs needs no scientific library."""

from __future__ import annotations

import functools
import math

_TINY = 1e-300
_CLOSE = 1e-15
_MOST_TERMS = 10_000


@functools.lru_cache(maxsize=4096)
def quantile(freedom: float, probability: float) -> float:
    """The t below which a Student variable with `freedom` > 0 degrees lies with `probability`.

    `probability` lies above 0.5 and below 1. Found by halving: the tail falls as t grows.
    """
    tail = 1.0 - probability
    low, high = 0.0, 1.0
    while _upper_tail(high, freedom) > tail:
        low, high = high, 2.0 * high
    while (middle := (low + high) / 2) not in {low, high}:
        if _upper_tail(middle, freedom) > tail:
            low = middle
        else:
            high = middle
    return high


def _upper_tail(t: float, freedom: float) -> float:
    """P(T > t) for t >= 0: half the regularised incomplete beta function of freedom / (freedom + t^2)."""
    x = freedom / (freedom + t * t)
    y = t * t / (freedom + t * t)
    a, b = freedom / 2, 0.5
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    if t == 0:
        return 0.5
    front = math.exp(log_front + a * math.log(x) + b * math.log(y))
    # The fraction converges fast on this side of its mean and slowly on the other.
    if x < (a + 1) / (a + b + 2):
        return 0.5 * front * _beta_fraction(x, a, b) / a
    return 0.5 * (1.0 - front * _beta_fraction(y, b, a) / b)


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    c, d = 1.0, 1.0 / _away_from_0(1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away_from_0(1.0 + term * d)
            c = _away_from_0(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < _CLOSE:
            break
    return value


def _away_from_0(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
