"""How far a guard's score may fall: to a part of the base model's, or by some of its deviations. Free of torch.

A ratio means something where a score starts at 0. For all others (a similarity, a learned preference)
it does not: 17 is 0.8 of 21 although the scores of single videos may differ by less than 1, and 0.01
is half of 0.02 although nothing has changed. There the drop of the mean is measured by the spread of the
base model's own videos.
"""

from __future__ import annotations

from vader_core.catalogue import RewardRow
from vader_core.faults import Fault
from vader_core.lines import GuardResult, GuardRule
from vader_core.spec import DEFAULT_MAX_DROP, DEFAULT_MIN_RATIO, Guard

_FIELDS: dict[GuardRule, str] = {"ratio": "min_ratio_to_base", "drop": "max_drop"}


def rule_of(row: RewardRow) -> GuardRule:
    """The rule that fits the row's scores."""
    return "ratio" if row.range[0] == 0 else "drop"


def with_bound(guard: Guard, row: RewardRow) -> Guard:
    """`guard` with the default bound of its rule, where it names none."""
    rule = rule_of(row)
    if getattr(guard, _FIELDS[rule]) is not None:
        return guard
    bound = DEFAULT_MIN_RATIO if rule == "ratio" else DEFAULT_MAX_DROP
    return guard.model_copy(update={_FIELDS[rule]: bound})


def bound_faults(guard: Guard, row: RewardRow, pointer: str) -> list[Fault]:
    """A fault where `guard`, at `pointer`, names a bound of the rule that does not fit the row."""
    rule = rule_of(row)
    other = _FIELDS["drop" if rule == "ratio" else "ratio"]
    if getattr(guard, other) is None:
        return []
    why = (
        "starts at 0, so that its ratio to the base model's says how far it fell"
        if rule == "ratio"
        else "does not start at 0, so that its ratio to the base model's says nothing"
    )
    detail = f"The score of {row.id} {why}: give `{_FIELDS[rule]}` in place of `{other}`."
    return [
        Fault(
            pointer=f"{pointer}/{other}",
            code="bound_does_not_fit",
            detail=detail,
            nearest=[_FIELDS[rule]],
        )
    ]


def guard_result(
    guard: Guard, *, base: float, base_deviation: float, adapter: float
) -> GuardResult:
    """Compares two means. `guard` is resolved: it has the bound of its rule, and no other.

    `base_deviation` is the standard deviation of the base model's single videos; where they all score
    the same, `max_drop` allows no drop at all. A base of 0 has no ratio: it must not fall either.
    """
    if guard.max_drop is not None:
        return GuardResult(
            reward=guard.reward,
            rule="drop",
            base=base,
            adapter=adapter,
            base_deviation=base_deviation,
            drop=(base - adapter) / base_deviation if base_deviation > 0 else None,
            max_drop=guard.max_drop,
            ok=base - adapter <= guard.max_drop * base_deviation,
        )
    if guard.min_ratio_to_base is None:
        raise ValueError(f"the spec is not resolved: the guard {guard.reward!r} has no bound")
    return GuardResult(
        reward=guard.reward,
        rule="ratio",
        base=base,
        adapter=adapter,
        base_deviation=base_deviation,
        ratio_to_base=adapter / base if base > 0 else None,
        min_ratio_to_base=guard.min_ratio_to_base,
        ok=adapter >= guard.min_ratio_to_base * base,
    )


def in_figures(guard: GuardResult) -> tuple[str, str]:
    """What was found and what was asked at least: ratios, or changes in base deviations ("sd")."""
    if guard.rule == "ratio":
        found = "-" if guard.ratio_to_base is None else f"{guard.ratio_to_base:.3f}"
        return found, f"{guard.min_ratio_to_base:g}"
    found = "-" if guard.drop is None else f"{-guard.drop:+.2f} sd"
    return found, f"-{guard.max_drop:g} sd"
