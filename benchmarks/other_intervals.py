"""Ways to judge paired differences that were weighed against Student's interval for the verdict.

Each takes the prompts' mean differences D (runs, prompts) and says which runs it would call clear, at an
error rate of 5 %. They serve `benchmarks.verdict` alone.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import special

Differences = NDArray[np.float64]
Clear = NDArray[np.bool_]

_ERROR_RATE = 0.05
_RESAMPLES = 300
# More sign patterns than this are sampled.
_MOST_PATTERNS = 1024


def student(differences: Differences) -> Clear:
    """Student's t, as the verdict has it."""
    mean, error = _mean_and_error(differences)
    clear: Clear = np.abs(mean) > _quantile(differences) * error
    return clear


def johnson(differences: Differences) -> Clear:
    """Student's t about a mean corrected for skewness (Johnson, JASA 73(363), 1978), t1 without its
    last term."""
    count = differences.shape[1]
    mean, error = _mean_and_error(differences)
    third = ((differences - mean[:, None]) ** 3).mean(1)
    variance = error**2 * count
    correction = np.divide(
        third, 6 * variance * count, out=np.zeros_like(third), where=variance > 0
    )
    clear: Clear = np.abs(mean + correction) > _quantile(differences) * error
    return clear


def sign_flips(differences: Differences) -> Clear:
    """Fisher's randomisation test: how many ways to flip the signs give as large a mean."""
    count = differences.shape[1]
    if 2**count <= _MOST_PATTERNS:
        patterns = np.array(list(itertools.product([1.0, -1.0], repeat=count)))
    else:
        rng = np.random.default_rng(1)
        drawn = np.where(rng.random((_MOST_PATTERNS - 1, count)) < 0.5, 1.0, -1.0)
        patterns = np.vstack([np.ones((1, count)), drawn])
    seen = np.abs(differences.mean(1))
    flipped = np.abs(differences @ patterns.T / count)
    clear: Clear = (flipped >= seen[:, None] - 1e-12).mean(1) <= _ERROR_RATE
    return clear


def bootstrap_t(differences: Differences) -> Clear:
    """Efron's bootstrap-t, equal tails (Efron & Tibshirani, An Introduction to the Bootstrap, ch. 12)."""
    count = differences.shape[1]
    chosen = np.random.default_rng(2).integers(0, count, (_RESAMPLES, count))
    clear = []
    for block in np.array_split(differences, max(len(differences) // 500, 1)):
        mean, error = _mean_and_error(block)
        drawn = block[:, chosen]
        # A resample of one prompt alone has no spread: its t is as far out as can be.
        errors = np.maximum(drawn.std(2, ddof=1) / np.sqrt(count), 1e-12)
        low, high = np.quantile((drawn.mean(2) - mean[:, None]) / errors, [0.025, 0.975], axis=1)
        clear.append((mean - high * error > 0) | (mean - low * error < 0))
    return np.concatenate(clear)


def _mean_and_error(differences: Differences) -> tuple[Differences, Differences]:
    count = differences.shape[1]
    return differences.mean(1), differences.std(1, ddof=1) / np.sqrt(count)


def _quantile(differences: Differences) -> float:
    return float(special.stdtrit(differences.shape[1] - 1, 1 - _ERROR_RATE / 2))


WAYS = {
    "Student's t (used)": student,
    "Johnson's modified t": johnson,
    "sign flips": sign_flips,
    "bootstrap-t": bootstrap_t,
}
