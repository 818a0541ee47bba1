"""The methods side by side: tuning, final rewards, and what each needs to reach DDPO's and DPO's end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.evidence.markdown import NOTHING, figure, spread, table, times
from benchmarks.evidence.methods import (
    KNOBS,
    LEARNING_RATES,
    Tuning,
    best_rate,
    knob_trial,
    rate_trial,
)
from benchmarks.evidence.reaching import Reached, compare, mean_curve
from benchmarks.evidence.results import Axis, Group, select
from benchmarks.evidence.tasks import TASKS

BASELINES = ("ddpo", "dpo")
_AXES: tuple[Axis, ...] = ("reward_queries", "denoiser_forwards", "seconds")


def tuning_table(tuning: Tuning) -> str:
    """The held-out reward at the end of every trial, and what was chosen."""
    rows = [
        [
            method,
            *(_trial(by_trial, rate_trial(rate)) for rate in LEARNING_RATES),
            *_knob(method, by_trial),
            _chosen(tuning, method),
        ]
        for method, by_trial in tuning.results.items()
    ]
    rates = [f"rate {rate_trial(rate)}" for rate in LEARNING_RATES]
    return table(["method", *rates, "at the best rate also", "its reward", "chosen"], rows)


def _trial(by_trial: Mapping[str, float | None], name: str) -> str:
    if name not in by_trial:
        return NOTHING
    reward = by_trial[name]
    return "diverged" if reward is None else figure(reward)


def _knob(method: str, by_trial: Mapping[str, float | None]) -> tuple[str, str]:
    settings = ", ".join(f"`{name}` {value}" for name, value in KNOBS[method].items())
    rate = best_rate(by_trial)
    return settings, NOTHING if rate is None else _trial(by_trial, knob_trial(method, rate))


def _chosen(tuning: Tuning, method: str) -> str:
    if method not in tuning.chosen:
        return NOTHING
    settings = tuning.chosen[method]
    edges = (LEARNING_RATES[0], LEARNING_RATES[-1])
    at_edge = " (the edge of the grid)" if settings["learning_rate"] in edges else ""
    more = "".join(f", `{name}` {settings[name]}" for name in KNOBS[method] if name in settings)
    return f"{settings['learning_rate']:g}{at_edge}{more}"


def final_table(groups: Sequence[Group], task: str) -> str:
    """Every method's end at one task."""
    rows = [
        [
            group.label,
            figure(group.ended[0].record.start.heldout_reward),
            spread([point.heldout_reward for point in group.finals]),
            _highest(group),
            _count(point.verdict == "improved" for point in group.finals),
            _count(all(guard.ok for guard in point.guards) for point in group.finals),
            figure(group.used("reward_queries")),
            figure(group.used("denoiser_forwards")),
            figure(group.used("seconds")),
            _failures(group),
        ]
        for group in select(groups, "methods", task=task)
    ]
    head = ["method", "base", "held-out reward at the end"]
    head += ["highest mean on the way", "improved", "guards held"]
    return table([*head, "queries", "forwards", "seconds", "failed"], rows)


def _highest(group: Group) -> str:
    """The highest point of the mean curve, and the queries that had led there."""
    queries, reward = max(mean_curve(group.curves("reward_queries")), key=lambda point: point[1])
    return f"{figure(reward)} after {figure(queries)}"


def equal_table(groups: Sequence[Group], task: str) -> str:
    """All methods once each had used as much as the one that used least of it."""
    chosen = select(groups, "methods", task=task)
    least = {axis: min(group.used(axis) for group in chosen) for axis in _AXES}
    rows = [
        [group.label, *(figure(group.mean_at(axis, least[axis])) for axis in _AXES)]
        for group in chosen
    ]
    names = ("queries", "forwards", "seconds")
    head = [f"after {figure(least[axis])} {name}" for axis, name in zip(_AXES, names, strict=True)]
    return table(["method", *head], rows)


def headline_table(groups: Sequence[Group], baseline: str) -> str:
    """What every method needs to reach the baseline's final reward, at every task."""
    rows = []
    for task in TASKS:
        chosen = {group.label: group for group in select(groups, "methods", task=task)}
        if baseline not in chosen:
            continue
        for label, group in chosen.items():
            if label != baseline:
                rows.append([TASKS[task].title, label, *_reaching(chosen[baseline], group)])
    head = ["task", "method", "reward to reach", "queries needed", "seeds that reached it"]
    return table([*head, "fewer queries", "fewer forwards", "fewer seconds"], rows)


def _reaching(baseline: Group, method: Group) -> list[str]:
    found = {axis: compare(baseline.curves(axis), method.curves(axis)) for axis in _AXES}
    by_query = found["reward_queries"]
    if by_query is None:
        return ["no gain to reach", *[NOTHING] * 5]
    needed = f"{figure(by_query.needed)}, seen at {figure(by_query.seen_at)}"
    return [
        figure(by_query.target),
        "never" if by_query.needed is None else needed,
        _seeds(by_query),
        *(times(one.ratio if one else None) for one in found.values()),
    ]


def _seeds(reached: Reached) -> str:
    known = [value for value in reached.by_seed if value is not None]
    span = f", after {figure(min(known))} to {figure(max(known))}" if len(known) > 1 else ""
    return f"{len(known)} of {len(reached.by_seed)}{span}"


def _count(answers: Iterable[bool]) -> str:
    known = list(answers)
    return f"{sum(known)} of {len(known)}"


def _failures(group: Group) -> str:
    codes = [str(outcome.record.error).split(":")[0] for outcome in group.failed]
    return ", ".join(codes) or NOTHING
