"""What all trainings showed, grouped by what was compared: one group holds the seeds of one variant."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.evidence import generalising
from benchmarks.evidence.cells import Cell
from benchmarks.evidence.generalising import Generalisation
from benchmarks.evidence.reaching import Curve, mean_curve, value_at
from benchmarks.evidence.records import Point, Record
from benchmarks.evidence.running import Runs

Axis = Literal["reward_queries", "denoiser_forwards", "seconds"]


@dataclass(frozen=True)
class Outcome:
    """One seed's training in the folder `run`, and what its adapter does elsewhere, None until that was tried."""

    cell: Cell
    record: Record
    generalisation: Generalisation | None
    run: Path

    def curve(self, axis: Axis) -> Curve:
        """The held-out reward against what training had used."""
        return [(self.used(axis, point), point.heldout_reward) for point in self.record.points]

    def used(self, axis: Axis, point: Point) -> float:
        """What training had used at `point`; of its seconds those for which it had a processor."""
        if axis == "seconds":
            return point.used.seconds * self.record.core_share
        return float(getattr(point.used, axis))


@dataclass(frozen=True)
class Group:
    """The seeds of one variant. `failed` have ended in an error, and `missing` have not been run."""

    study: str
    task: str
    base_model: str
    label: str
    ended: list[Outcome] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    missing: list[Cell] = field(default_factory=list)

    def curves(self, axis: Axis) -> list[Curve]:
        return [outcome.curve(axis) for outcome in self.ended]

    def mean_at(self, axis: Axis, x: float) -> float | None:
        """The mean curve's reward once `x` was used; None where it does not reach that far."""
        return value_at(mean_curve(self.curves(axis)), x)

    @property
    def finals(self) -> list[Point]:
        return [outcome.record.final for outcome in self.ended]

    def used(self, axis: Axis) -> float:
        """The mean of what the whole training used."""
        return statistics.fmean(outcome.used(axis, outcome.record.final) for outcome in self.ended)


def groups(cells: Iterable[Cell], runs: Runs) -> list[Group]:
    """All groups, in the order of their first cells."""
    found: dict[tuple[str, str, str, str], Group] = {}
    for cell in cells:
        key = cell.study, cell.task, cell.base_model, cell.label
        group = found.setdefault(key, Group(*key))
        record = runs.record(cell)
        if record is None:
            group.missing.append(cell)
            continue
        outcome = Outcome(cell, record, generalising.read(runs.of(cell)), runs.of(cell))
        (group.failed if record.error else group.ended).append(outcome)
    return list(found.values())


def select(
    all_groups: Sequence[Group], study: str, *, task: str, base_model: str | None = None
) -> list[Group]:
    """The groups of one table that have something to show."""
    return [
        group
        for group in all_groups
        if group.study == study
        and group.task == task
        and base_model in (None, group.base_model)
        and group.ended
    ]


@dataclass(frozen=True)
class Break:
    """The first evaluation at which a guard no longer held."""

    reward_queries: int
    heldout_reward: float
    guards: tuple[str, ...]


def first_break(outcome: Outcome) -> Break | None:
    """None where all guards held all the way."""
    for point in outcome.record.points:
        broken = tuple(name_of(guard.reward) for guard in point.guards if not guard.ok)
        if broken:
            return Break(point.used.reward_queries, point.heldout_reward, broken)
    return None


def best_within_guards(outcome: Outcome) -> float:
    """The highest held-out reward of an evaluation at which all guards held; the base model's counts."""
    return max(
        point.heldout_reward
        for point in outcome.record.points
        if all(guard.ok for guard in point.guards)
    )


def name_of(reward: str) -> str:
    """A reward's name without its version."""
    return reward.split("@")[0]
