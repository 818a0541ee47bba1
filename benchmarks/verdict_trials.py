"""Trials of the verdict: how often it is wrong where nothing changed, and how often it sees what did.

Every trial goes through `vader_core.statistics`, as a job's evaluation does, and every random number
follows from what is tried: the same call gives the same rates.
"""

from __future__ import annotations

import statistics
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from benchmarks.score_worlds import Draw, Drawn, Scores, Shape
from vader_core.lines import Verdict
from vader_core.pairs_needed import pairs_needed
from vader_core.statistics import paired_difference, verdict


@dataclass(frozen=True)
class Rate:
    """So many of so many trials."""

    hits: int
    trials: int

    @property
    def share(self) -> float:
        return self.hits / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the true rate (Clopper & Pearson, Biometrika 26(4), 1934)."""
        hits, misses = self.hits, self.trials - self.hits
        low = float(special.betaincinv(hits, misses + 1, 0.025)) if hits else 0.0
        high = float(special.betaincinv(hits + 1, misses, 0.975)) if misses else 1.0
        return low, high


def _generator(*what: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def _prompt_ids(shape: Shape) -> list[str]:
    return [f"p{prompt}" for prompt in range(shape[1]) for _ in range(shape[2])]


def _verdicts(drawn: Drawn, *, looks: int = 1) -> list[Verdict]:
    ids = _prompt_ids(drawn.base.shape)
    return [
        verdict(
            paired_difference(
                base.ravel().tolist(), adapter.ravel().tolist(), prompt_ids=ids, looks=looks
            )
        )
        for base, adapter in zip(drawn.base, drawn.adapter, strict=True)
    ]


def false_verdicts(draw: Draw, *, trials: int, prompts: int, seeds: int) -> Rate:
    """How often a clear verdict comes out in a world whose mean difference is 0."""
    drawn = draw(_generator(draw.__name__, prompts, seeds), (trials, prompts, seeds))
    clear = [found != "no_clear_difference" for found in _verdicts(drawn)]
    return Rate(sum(clear), trials)


def false_verdicts_by(
    way: Callable[[Scores], np.ndarray], draw: Draw, *, trials: int, prompts: int
) -> Rate:
    """The same for another way to judge (`benchmarks.other_intervals`), one seed for each prompt."""
    drawn = draw(_generator(draw.__name__, prompts, 1), (trials, prompts, 1))
    return Rate(int(way((drawn.adapter - drawn.base).mean(2)).sum()), trials)


def power(effect: float, *, trials: int, prompts: int) -> Rate:
    """How often `improved` comes out where the mean difference is `effect` of the prompts' deviations.

    The prompts' mean differences are normal.
    """
    rng = _generator("power", effect, prompts)
    shape = (trials, prompts, 1)
    drawn = Drawn(np.zeros(shape), rng.normal(effect, 1, shape))
    return Rate(_verdicts(drawn).count("improved"), trials)


def verdicts_of_the_best(
    *, trials: int, prompts: int, states: int, drifting: bool, corrected: bool
) -> Rate:
    """Clear verdicts where the state with the highest held-out mean of several is judged.

    `corrected` lets the interval hold for all of them. The states are those of `_states`.
    """
    changes = _states(trials, states, prompts, drifting=drifting)
    best = changes.mean((2, 3)).argmax(1)
    chosen = changes[np.arange(trials), best]
    found = _verdicts(Drawn(np.zeros_like(chosen), chosen), looks=states if corrected else 1)
    return Rate(trials - found.count("no_clear_difference"), trials)


def verdicts_when_stuck(
    *, trials: int, prompts: int, states: int, drifting: bool, patience: int
) -> tuple[Rate, Rate]:
    """`improved` and `worse` where training stops once `patience` states in a row failed to beat the best
    before (the base model first), and the state it has come to is judged, or else the last of `states`."""
    changes = _states(trials, states, prompts, drifting=drifting)
    judged = []
    for of_trial in changes:
        best, since_best, last = 0.0, 0, states - 1
        for state, mean in enumerate(of_trial.mean((1, 2))):
            best, since_best = (mean, 0) if mean > best else (best, since_best + 1)
            if since_best == patience:
                last = state
                break
        judged.append(of_trial[last])
    adapter = np.stack(judged)
    found = _verdicts(Drawn(np.zeros_like(adapter), adapter))
    return Rate(found.count("improved"), trials), Rate(found.count("worse"), trials)


def _states(trials: int, states: int, prompts: int, *, drifting: bool) -> Scores:
    """Changes (trials, states, prompts, 1) to the base model's scores, of mean 0.

    Each state changes the prompts by normal amounts: its own, or `drifting`, those of the state before and
    some more.
    """
    rng = _generator("states", prompts, states, drifting)
    changes: Scores = rng.normal(0, 1, (trials, states, prompts, 1))
    return changes.cumsum(1) if drifting else changes


@dataclass(frozen=True)
class Estimates:
    """What `pairs_needed` said in many trials: quartiles of the prompts, and what came of the median.

    `improved` is how often a second evaluation with each trial's own estimate called the effect.
    """

    truth: int
    quartiles: tuple[float, float, float]
    improved: Rate


def estimates(effect: float, *, trials: int, prompts: int, most: int) -> Estimates:
    """Estimates from a first evaluation, each tried by a second one of that size (at most `most` prompts).

    The half width asked for is the true effect, in deviations of the prompts' differences.
    """
    rng = _generator("estimates", effect, prompts)
    asked = []
    improved = 0
    for differences in rng.normal(effect, 1, (trials, prompts)):
        needed = _needed(differences.tolist(), effect)
        asked.append(needed)
        again = rng.normal(effect, 1, (1, min(needed, most), 1))
        improved += _verdicts(Drawn(np.zeros_like(again), again)).count("improved")
    quarters = statistics.quantiles(asked, n=4)
    return Estimates(
        _truly_needed(effect), (quarters[0], quarters[1], quarters[2]), Rate(improved, trials)
    )


def _needed(differences: list[float], half_width: float) -> int:
    found = pairs_needed(
        [0.0] * len(differences),
        differences,
        prompt_ids=_prompt_ids((1, len(differences), 1)),
        wanted_half_width=half_width,
        resolution=0.0,
    )
    if found.prompts is None:
        raise ValueError(f"nothing can be said: {found.unknown_because}")
    return found.prompts


def _truly_needed(half_width: float) -> int:
    """That of two prompts' worth of differences with the deviation 1 and many prompts' certainty."""
    spread = [-1.0, 1.0] * 500
    return _needed([value / statistics.stdev(spread) for value in spread], half_width)
