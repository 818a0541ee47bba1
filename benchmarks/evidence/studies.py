"""Every training of the comparison, in the order in which it is worth having.

Tuning comes first: its result is a file that the others read. Then come all methods at all tasks with the
first seed, the other seeds of the first task, where reward gradients enter the denoising and what holds a run
back from cheating, and then the other seeds of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from benchmarks.evidence.cells import Cell
from benchmarks.evidence.methods import (
    KNOBS,
    LEARNING_RATES,
    METHODS,
    TUNING_SEED,
    TUNING_TASK,
    Tuning,
    best_rate,
    knob_trial,
    rate_trial,
    tuned,
)
from benchmarks.evidence.sites import (
    SITE_TASKS,
    SITES,
    Changes,
    Place,
    sites_of,
)
from benchmarks.evidence.tasks import TASKS

SEEDS = (1, 2, 3)
BASE_MODEL = "tiny-wan"
TUNING_QUERIES = 256
SITE_QUERIES = 96
# Reward gradients rise within few queries: their curve is looked at more often, but not below this.
_OFTEN = 32
# Where reward gradients cheat soonest: a shape is gone, and with it all that moves and differs.
ANCHOR_TASK = "removal"
_FREE: Changes = {"prediction_penalty": 0.0}
ANCHORS: dict[str, Changes] = {
    "no anchor": _FREE,
    "prediction penalty 0.3": {"prediction_penalty": 0.3},
    "prediction penalty 3": {"prediction_penalty": 3.0},
    "worst case, radius 0.02": {**_FREE, "worst_case_radius": 0.02},
    "base samples, weight 1": {**_FREE, "base_sample_weight": 1.0},
}
# Of runs without an anchor.
EARLY_STOPS: dict[str, Changes] = {
    "early stop on guards": {"metric": "guards", "patience_evals": 1},
    "early stop on an unseen reward": {
        "metric": "unseen_reward",
        "reward": "tiny-aesthetic",
        "patience_evals": 2,
    },
}


def _trial(method: str, changes: Changes) -> Cell:
    every = _evaluate_every(TUNING_QUERIES)
    settings = {**METHODS[method], **changes}
    return Cell(
        "tuning", TUNING_TASK, method, BASE_MODEL, TUNING_SEED, TUNING_QUERIES, every, settings
    )


def rate_cells() -> dict[tuple[str, str], Cell]:
    """The first trials, the same for every method, by method and trial."""
    return {
        (method, rate_trial(rate)): _trial(method, {"learning_rate": rate})
        for rate in LEARNING_RATES
        for method in METHODS
    }


def judged_trials() -> list[Cell]:
    """The first trials, named by their rates: how the judge sees what the trained reward chose among."""
    return [
        replace(cell, label=f"{method}, rate {trial}")
        for (method, trial), cell in rate_cells().items()
    ]


def knob_cells(results: Mapping[str, Mapping[str, float | None]]) -> dict[tuple[str, str], Cell]:
    """The second trials, for the methods whose first ones are complete: one at the best rate."""
    rates = {method: best_rate(by_trial) for method, by_trial in results.items()}
    return {
        (method, knob_trial(method, rate)): _trial(method, {"learning_rate": rate, **KNOBS[method]})
        for method, rate in rates.items()
        if rate is not None
    }


def _evaluate_every(queries: int) -> int:
    """Queries between evaluations so that there are about eight; a multiple of all methods' steps."""
    return max(16, queries // 8 // 16 * 16)


def _method_cell(study: str, task: str, label: str, seed: int, method: Changes) -> Cell:
    """A training with the task's whole budget."""
    queries = TASKS[task].queries
    often = method["type"] == "reward_gradient"
    every = max(_OFTEN, queries // 32) if often else _evaluate_every(queries)
    return Cell(study, task, label, BASE_MODEL, seed, queries, every, method)


def method_cells(tuning: Tuning, task: str, seed: int) -> Iterator[Cell]:
    """Every method that can learn the task."""
    for method in METHODS:
        if method not in tuning.chosen or (TASKS[task].black_box and method == "reward_gradient"):
            continue
        yield _method_cell("methods", task, method, seed, tuned(method, tuning))


def site_cells(tuning: Tuning, seed: int, base_model: str) -> Iterator[Cell]:
    """Reward gradients through other parts of the denoising."""
    for task in SITE_TASKS:
        for label in sites_of(task, base_model):
            method = tuned("reward_gradient", tuning, **SITES[label])
            every = _evaluate_every(SITE_QUERIES)
            yield Cell("sites", task, label, base_model, seed, SITE_QUERIES, every, method)


def anchor_cells(tuning: Tuning, seed: int) -> Iterator[Cell]:
    """Reward gradients with and without what should keep them honest, for as long as they cheat at all."""
    for label, changes in ANCHORS.items():
        method = tuned("reward_gradient", tuning, **changes)
        yield _method_cell("anchors", ANCHOR_TASK, label, seed, method)
    free = tuned("reward_gradient", tuning, **_FREE)
    for label, early_stop in EARLY_STOPS.items():
        cell = _method_cell("anchors", ANCHOR_TASK, label, seed, free)
        yield replace(cell, early_stop=early_stop)


def all_cells(tuning: Tuning) -> list[Cell]:
    """Everything but the tuning, most important first."""
    first, *others = SEEDS
    headline, *tasks = TASKS
    has_gradient = "reward_gradient" in tuning.chosen
    cells = [cell for task in TASKS for cell in method_cells(tuning, task, first)]
    cells += [cell for seed in others for cell in method_cells(tuning, headline, seed)]
    if has_gradient:
        cells += [*site_cells(tuning, first, "tiny-wan"), *anchor_cells(tuning, first)]
    cells += [
        cell for seed in others for task in tasks for cell in method_cells(tuning, task, seed)
    ]
    if has_gradient:
        cells += site_cells(tuning, first, "tiny-unet")
        for seed in others:
            cells += [*site_cells(tuning, seed, "tiny-wan"), *anchor_cells(tuning, seed)]
            cells += site_cells(tuning, seed, "tiny-unet")
    return cells


def cosine_places(tuning: Tuning) -> list[Place]:
    """Where gradients are compared: at both base models, and after training on the first seed."""
    places = [Place(task, base) for base in ("tiny-wan", "tiny-unet") for task in SITE_TASKS]
    if "reward_gradient" not in tuning.chosen:
        return places
    trained = [
        cell
        for task in SITE_TASKS
        for cell in method_cells(tuning, task, SEEDS[0])
        if cell.label == "reward_gradient"
    ]
    return places + [Place(cell.task, cell.base_model, cell) for cell in trained]
