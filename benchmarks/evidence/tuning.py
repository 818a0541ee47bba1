"""Equal effort for every method: the same trials, chosen by the held-out reward at the end."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.evidence.cells import Cell
from benchmarks.evidence.methods import TUNING_SEED, TUNING_TASK, Tuning, choose
from benchmarks.evidence.running import Runs
from benchmarks.evidence.studies import TUNING_QUERIES

Trials = Mapping[tuple[str, str], Cell]


def missing(trials: Trials, known: Tuning | None) -> list[Cell]:
    """The trials whose result is not known."""
    results = {} if known is None else known.results
    return [
        cell for (method, trial), cell in trials.items() if trial not in results.get(method, {})
    ]


def collect(trials: Trials, runs: Runs, known: Tuning | None) -> Tuning | None:
    """What is `known` and what the trials in `runs` add to it; None where there is nothing at all."""
    results = {} if known is None else {name: dict(found) for name, found in known.results.items()}
    base_reward = None if known is None else known.base_reward
    for (method, trial), cell in trials.items():
        record = runs.record(cell)
        if record is None or trial in results.get(method, {}):
            continue
        reward = None if record.error else record.final.heldout_reward
        results.setdefault(method, {})[trial] = reward
        base_reward = record.start.heldout_reward
    if base_reward is None:
        return None
    return Tuning(
        task=TUNING_TASK,
        seed=TUNING_SEED,
        queries=TUNING_QUERIES,
        base_reward=base_reward,
        results=results,
        chosen=choose(results),
    )
