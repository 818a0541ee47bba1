"""Made-up trainings of the comparison, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.evidence import generalising, records
from benchmarks.evidence.cells import GUARDS, Cell
from benchmarks.evidence.generalising import FILE, Found, Generalisation, Judged
from benchmarks.evidence.methods import METHODS, TUNING_SEED, Tuning, knob_trial
from benchmarks.evidence.records import Point, Record, Used
from benchmarks.evidence.running import Runs
from benchmarks.evidence.tasks import TASKS
from vader_core.lines import GuardResult, RewardDifference

TUNING = Tuning(
    task="preference",
    seed=TUNING_SEED,
    queries=192,
    base_reward=1.0,
    results={
        name: {"0.0003": 1.0, "0.001": 2.0, "0.003": None, "0.01": 0.5, knob_trial(name, 1e-3): 1.5}
        for name in METHODS
    },
    chosen={name: {"learning_rate": 1e-3} for name in METHODS},
)


def cell(label: str = "reward_gradient", **changes: Any) -> Cell:
    fields: dict[str, Any] = {
        "study": "methods",
        "task": "preference",
        "label": label,
        "base_model": "tiny-wan",
        "seed": 1,
        "queries": 96,
        "evaluate_every": 48,
        "method": {**METHODS.get(label, METHODS["reward_gradient"]), "learning_rate": 1e-3},
    }
    return Cell(**{**fields, **changes})


def few_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves two prompts of each kind to every task, so that a real training takes seconds."""
    for name, task in TASKS.items():
        few = replace(
            task,
            training=task.training[:2],
            heldout=task.heldout[:2],
            unseen_words=task.unseen_words[:2],
        )
        monkeypatch.setitem(TASKS, name, few)
    monkeypatch.setattr(generalising, "VIDEOS", 4)


def small_cell(label: str = "reward_gradient", *, queries: int = 4) -> Cell:
    """A training of two videos a step; `few_prompts` makes its evaluations as small."""
    method = {**METHODS[label], "batch_size": 1, "gradient_accumulation": 2, "learning_rate": 1e-3}
    method |= {"differentiable_steps": 1} if label == "reward_gradient" else {"group_size": 2}
    return cell(label, queries=queries, method=method)


def point(queries: int, reward: float, *, broken: Sequence[str] = ()) -> Point:
    """Ten forwards and a fifth of a second a query; the guards named in `broken` have not held."""
    guards = [
        GuardResult(
            reward=f"{guard['reward']}@1", base=0.5, adapter=0.4, ok=guard["reward"] not in broken
        )
        for guard in GUARDS
    ]
    return Point(
        used=Used(
            step=queries // 8,
            reward_queries=queries,
            denoiser_forwards=10 * queries,
            seconds=0.2 * queries,
        ),
        heldout_reward=reward,
        difference=difference(1.0, reward) if queries else None,
        verdict="improved" if queries else None,
        guards=guards if queries else [],
    )


def difference(base: float, adapter: float) -> RewardDifference:
    delta = adapter - base
    return RewardDifference(
        base=base, adapter=adapter, delta=delta, delta_ci95=(delta - 0.1, delta + 0.1)
    )


def record(*points: Point, error: str | None = None, wall_seconds: float = 30.0) -> Record:
    return Record(
        stop_reason=None if error else "completed_steps",
        error=error,
        wall_seconds=wall_seconds,
        points=list(points),
    )


def put(runs: Runs, of: Cell, made: Record) -> Path:
    """Keeps the record as if the cell had been trained."""
    run = runs.of(of)
    run.mkdir(parents=True)
    records.write(run, made)
    return run


def put_generalisation(run: Path, names: Sequence[str]) -> None:
    found = Found(
        videos=16,
        difference=difference(1.0, 1.5),
        guards=[],
        judged_base=Judged(colour=0.5, shape=0.25, direction=0.25),
        judged_adapter=Judged(colour=1.0, shape=0.5, direction=0.75),
    )
    made = Generalisation(sets=dict.fromkeys(names, found))
    (run / FILE).write_text(made.model_dump_json())
