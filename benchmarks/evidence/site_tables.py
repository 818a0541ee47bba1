"""Where the gradient enters: reward at equal queries and equal seconds, and cosines to the full gradient."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.evidence.cosines import Cosines
from benchmarks.evidence.markdown import NOTHING, figure, spread, table
from benchmarks.evidence.results import Group, name_of, select

_WATCHED = ("motion", "diversity", "tiny-text-match")


def site_table(groups: Sequence[Group], task: str, base_model: str) -> str:
    """Every variant at one task; the common seconds are those of the quickest."""
    chosen = select(groups, "sites", task=task, base_model=base_model)
    queries = min(group.used("reward_queries") for group in chosen)
    seconds = min(group.used("seconds") for group in chosen)
    rows = [
        [
            group.label,
            str(len(group.ended)),
            figure(group.mean_at("reward_queries", queries)),
            figure(group.mean_at("seconds", seconds)),
            spread([point.heldout_reward for point in group.finals]),
            figure(group.used("seconds") / group.used("reward_queries")),
            figure(group.used("denoiser_forwards") / group.used("reward_queries")),
            *(_ratio(group, name) for name in _WATCHED),
        ]
        for group in chosen
    ]
    head = [
        *("gradient through", "seeds", f"after {figure(queries)} queries"),
        *(f"after {figure(seconds)} s", "at the end", "seconds a query", "forwards a query"),
    ]
    return table([*head, *(f"{name}, of the base's" for name in _WATCHED)], rows)


def _ratio(group: Group, name: str) -> str:
    ratios = [
        guard.adapter / guard.base
        for point in group.finals
        for guard in point.guards
        if name_of(guard.reward) == name and guard.base > 0
    ]
    return spread(ratios)


def cosine_table(found: Sequence[Cosines]) -> str:
    """Every variant against the full gradient; a column for every place: cosine of single batches, of
    their sum in brackets."""
    labels = list(dict.fromkeys(label for one in found for label in one.sites))
    rows = [[label, *(_cosine(one, label) for one in found)] for label in labels]
    return table(["gradient through", *(_place(one) for one in found)], rows)


def _cosine(one: Cosines, label: str) -> str:
    if label not in one.sites:
        return NOTHING
    cosine = one.sites[label]
    mean, low, high = cosine.of_batches
    return f"{mean:.2f} ({low:.2f} to {high:.2f}), sum {cosine.of_sum:.2f}, norm {cosine.norm_ratio:.2g}"


def _place(one: Cosines) -> str:
    at = f"after {one.trained_queries} queries" if one.trained_queries else "base"
    return f"{one.base_model}, {one.task}, {at}"
