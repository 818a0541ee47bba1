"""Adapters on other prompts and lengths than their training's, and before the independent judge."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.evidence.generalising import Found, mean_judged
from benchmarks.evidence.markdown import NOTHING, figure, percent, spread, table
from benchmarks.evidence.results import Group, select

SETS = ("seen prompts", "unseen combinations", "unseen word", "longer videos")


def difference_table(groups: Sequence[Group], task: str, sets: Sequence[str]) -> str:
    """Adapter minus base on every set, mean and spread over seeds, and how many intervals exclude 0."""
    rows = [
        [group.label, *(_difference(found_on(group, name)) for name in sets)]
        for group in _tried(groups, task)
    ]
    return table(["method", *sets], rows)


def _difference(found: Sequence[Found]) -> str:
    if not found:
        return NOTHING
    deltas = [one.difference.delta for one in found]
    clear = sum(one.difference.delta_ci95[0] > 0 for one in found)
    base = figure(found[0].difference.base)
    return f"base {base}, change {spread(deltas)}; above 0 in {clear} of {len(found)}"


def judge_table(groups: Sequence[Group], task: str, sets: Sequence[str]) -> str:
    """What the judge sees of what was asked for: colour, shape, direction; adapter beside base."""
    rows = []
    for group in _tried(groups, task):
        for name in sets:
            found = found_on(group, name)
            before = mean_judged([one.judged_base for one in found])
            after = mean_judged([one.judged_adapter for one in found])
            pairs = (
                (before.colour, after.colour),
                (before.shape, after.shape),
                (before.direction, after.direction),
            )
            shown = [f"{percent(was)} → {percent(now)}" for was, now in pairs]
            rows.append([group.label, name, str(sum(one.videos for one in found)), *shown])
    return table(["method", "prompts", "videos", "colour", "shape", "direction"], rows)


def trials_table(groups: Sequence[Group], task: str) -> str:
    """The trials of the learning rates: what the trained reward gained, and what the judge sees, over all sets."""
    rows = []
    for group in _tried(groups, task, study="tuning"):
        found = [one for name in SETS for one in found_on(group, name)]
        before = mean_judged([one.judged_base for one in found])
        after = mean_judged([one.judged_adapter for one in found])
        pairs = ((before.colour, after.colour), (before.shape, after.shape))
        gained = statistics.fmean(one.difference.delta for one in found)
        shown = [f"{percent(was)} → {percent(now)}" for was, now in pairs]
        rows.append([group.label, figure(gained), str(sum(one.videos for one in found)), *shown])
    return table(["trial", "change of the trained reward", "videos", "colour", "shape"], rows)


def found_on(group: Group, name: str) -> list[Found]:
    return [
        outcome.generalisation.sets[name]
        for outcome in group.ended
        if outcome.generalisation is not None
    ]


def _tried(groups: Sequence[Group], task: str, study: str = "methods") -> list[Group]:
    return [
        group
        for group in select(groups, study, task=task)
        if any(outcome.generalisation for outcome in group.ended)
    ]
