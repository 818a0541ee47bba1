from __future__ import annotations

import pytest

from vader_core.catalogue import BUILT_IN
from vader_core.guard_rules import bound_faults, guard_result, in_figures, rule_of, with_bound
from vader_core.spec import Guard

MOTION, MATCH = BUILT_IN.rewards["motion"], BUILT_IN.rewards["tiny-text-match"]


def test_only_scores_that_start_at_zero_have_a_ratio() -> None:
    ratio = {"diversity", "motion", "sharpness", "reference-distance", "tiny-action"}
    drop = {"pickscore", "imagereward", "clip-score", "tiny-temporal-consistency", "jpeg-size"}
    assert {rule_of(BUILT_IN.rewards[name]) for name in ratio} == {"ratio"}
    assert {rule_of(BUILT_IN.rewards[name]) for name in drop} == {"drop"}


def test_a_guard_without_a_bound_gets_the_one_of_its_rule() -> None:
    assert with_bound(Guard(reward="motion"), MOTION) == Guard(
        reward="motion", min_ratio_to_base=0.8
    )
    assert with_bound(Guard(reward="tiny-text-match"), MATCH) == Guard(
        reward="tiny-text-match", max_drop=0.5
    )
    own = Guard(reward="motion", min_ratio_to_base=0.3)
    assert with_bound(own, MOTION) is own


def test_a_bound_of_the_other_rule_is_a_fault_that_names_the_right_one() -> None:
    (wrong,) = bound_faults(Guard(reward="motion", max_drop=1.0), MOTION, "/guards/1")
    assert (wrong.pointer, wrong.code) == ("/guards/1/max_drop", "bound_does_not_fit")
    assert wrong.nearest == ["min_ratio_to_base"]
    (wrong,) = bound_faults(Guard(reward="m", min_ratio_to_base=0.9), MATCH, "/guards/0")
    assert (wrong.pointer, wrong.nearest) == ("/guards/0/min_ratio_to_base", ["max_drop"])
    assert bound_faults(Guard(reward="m", max_drop=0.2), MATCH, "") == []


@pytest.mark.parametrize(
    ("base", "adapter", "ratio", "ok"),
    [(0.5, 0.45, 0.9, True), (0.5, 0.35, 0.7, False), (0.0, 0.0, None, True)],
)
def test_a_ratio_may_not_fall_below_the_asked_one(
    *, base: float, adapter: float, ratio: float | None, ok: bool
) -> None:
    guard = Guard(reward="motion@1", min_ratio_to_base=0.8)
    found = guard_result(guard, base=base, base_deviation=0.1, adapter=adapter)
    assert found.rule == "ratio"
    assert found.ratio_to_base == (None if ratio is None else pytest.approx(ratio))
    assert found.ok is ok


@pytest.mark.parametrize(
    ("base", "deviation", "adapter", "drop", "ok"),
    [
        # A preference score of 21 +- 1 that falls to 17 is broken, although 17 is 0.8 of 21.
        (21.0, 1.0, 17.0, 4.0, False),
        # One around 0 that moves by a hundredth of its spread is not, although it is half.
        (0.02, 1.0, 0.01, 0.01, True),
        (-1.0, 0.4, -1.1, 0.25, True),
        (-1.0, 0.4, -1.3, 0.75, False),
        (-1.0, 0.4, -0.5, -1.25, True),
        (0.3, 0.0, 0.3, None, True),
        (0.3, 0.0, 0.29, None, False),
    ],
)
def test_a_mean_may_not_fall_by_more_than_the_asked_deviations(
    *, base: float, deviation: float, adapter: float, drop: float | None, ok: bool
) -> None:
    guard = Guard(reward="imagereward@1", max_drop=0.5)
    found = guard_result(guard, base=base, base_deviation=deviation, adapter=adapter)
    assert (found.rule, found.max_drop, found.base_deviation) == ("drop", 0.5, deviation)
    assert found.drop == (None if drop is None else pytest.approx(drop))
    assert found.ok is ok


def test_an_unresolved_guard_is_not_judged() -> None:
    with pytest.raises(ValueError, match="not resolved"):
        guard_result(Guard(reward="motion"), base=1.0, base_deviation=0.1, adapter=1.0)


def test_figures_say_what_was_found_and_what_was_asked() -> None:
    ratio = Guard(reward="motion", min_ratio_to_base=0.8)
    drop = Guard(reward="m", max_drop=0.5)
    assert in_figures(guard_result(ratio, base=0.5, base_deviation=0.1, adapter=0.4)) == (
        "0.800",
        "0.8",
    )
    assert in_figures(guard_result(drop, base=0.5, base_deviation=0.1, adapter=0.48)) == (
        "-0.20 sd",
        "-0.5 sd",
    )
