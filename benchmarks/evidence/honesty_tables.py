"""Where training begins to cheat, what the guards say then, and what anchors and early stop do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.evidence.cells import GUARDS
from benchmarks.evidence.markdown import NOTHING, figure, spread, table
from benchmarks.evidence.results import (
    Group,
    best_within_guards,
    first_break,
    name_of,
    select,
)


def guard_table(groups: Sequence[Group], study: str, task: str) -> str:
    """The trained reward and every guard at the end, each beside the base model's."""
    chosen = select(groups, study, task=task)
    names = [str(guard["reward"]) for guard in GUARDS]
    rows = [
        [
            group.label,
            _change(
                [outcome.record.start.heldout_reward for outcome in group.ended],
                [point.heldout_reward for point in group.finals],
            ),
            *(_guard_change(group, name) for name in names),
        ]
        for group in chosen
    ]
    return table(["", "trained reward", *names], rows)


def _guard_change(group: Group, name: str) -> str:
    found = [
        guard for point in group.finals for guard in point.guards if name_of(guard.reward) == name
    ]
    text = _change([guard.base for guard in found], [guard.adapter for guard in found])
    broken = sum(not guard.ok for guard in found)
    return f"{text}, **broken in {broken} of {len(found)}**" if broken else text


def _change(before: Sequence[float], after: Sequence[float]) -> str:
    if not before:
        return NOTHING
    return f"{figure(before[0])} → {spread(after)}"


def break_table(groups: Sequence[Group], study: str, task: str) -> str:
    """When the first guard broke, which, and how much reward there was before and after that."""
    rows = []
    for group in select(groups, study, task=task):
        breaks = [found for outcome in group.ended if (found := first_break(outcome)) is not None]
        by_guard = Counter(name for found in breaks for name in found.guards)
        rows.append(
            [
                group.label,
                f"{len(breaks)} of {len(group.ended)}",
                spread([found.reward_queries for found in breaks]),
                ", ".join(name for name, _ in by_guard.most_common()) or NOTHING,
                spread([best_within_guards(outcome) for outcome in group.ended]),
                spread([point.heldout_reward for point in group.finals]),
                _stops(group),
            ]
        )
    head = ["", "seeds in which a guard broke", "first after queries", "guards broken first"]
    return table([*head, "best reward with all guards held", "reward at the end", "ended by"], rows)


def _stops(group: Group) -> str:
    reasons = Counter(str(outcome.record.stop_reason) for outcome in group.ended)
    queries = spread([point.used.reward_queries for point in group.finals])
    names = ", ".join(reason.replace("_", " ") for reason in reasons)
    return f"{names} after {queries} queries"
