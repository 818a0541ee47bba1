"""What a method needs to reach a reward, by closed forms."""

from __future__ import annotations

import pytest

from benchmarks.evidence.reaching import Band, bands, compare, first_reached, value_at

RISING = [(0.0, 1.0), (10.0, 2.0), (20.0, 4.0)]


@pytest.mark.parametrize(
    ("target", "expected"), [(1.0, 0.0), (1.5, 5.0), (2.0, 10.0), (3.0, 15.0), (4.1, None)]
)
def test_a_curve_is_straight_between_its_points(target: float, expected: float | None) -> None:
    assert first_reached(RISING, target) == expected


def test_the_first_crossing_counts_even_where_the_curve_falls_again() -> None:
    assert first_reached([(0, 0.0), (10, 2.0), (20, 0.0), (30, 3.0)], 1.0) == 5.0


def test_a_value_is_read_between_points_and_not_beyond_them() -> None:
    assert value_at(RISING, 15.0) == 3.0
    assert value_at(RISING, 20.0) == 4.0
    assert value_at(RISING, 21.0) is None


def test_bands_are_mean_and_range_and_end_with_the_shortest_curve() -> None:
    found = bands([[(0, 1.0), (10, 2.0), (20, 9.0)], [(0, 1.0), (12, 4.0)]])
    assert found == [Band(0, 1.0, 1.0, 1.0), Band(11, 3.0, 2.0, 4.0)]


def test_a_method_that_needs_a_quarter_has_the_ratio_four() -> None:
    baseline = [[(0.0, 0.0), (100.0, 1.0)], [(0.0, 0.0), (100.0, 3.0)]]
    method = [[(0.0, 0.0), (50.0, 4.0)], [(0.0, 0.0), (50.0, 4.0)]]
    found = compare(baseline, method)
    assert found is not None
    assert (found.target, found.needed, found.ratio) == (2.0, 25.0, 4.0)
    assert found.seen_at == 50.0
    assert found.by_seed == (25.0, 25.0)


def test_a_seed_that_never_gets_there_is_told_apart() -> None:
    baseline = [[(0.0, 0.0), (100.0, 1.0)]]
    found = compare(baseline, [[(0.0, 0.0), (50.0, 4.0)], [(0.0, 0.0), (50.0, 0.5)]])
    assert found is not None
    assert found.needed is not None
    assert found.by_seed == (12.5, None)


def test_never_reached_has_no_ratio() -> None:
    found = compare([[(0.0, 0.0), (100.0, 1.0)]], [[(0.0, 0.0), (50.0, 0.5)]])
    assert found is not None
    assert (found.needed, found.ratio) == (None, None)


def test_a_baseline_that_did_not_rise_is_nothing_to_reach() -> None:
    assert compare([[(0.0, 1.0), (100.0, 0.9)]], [[(0.0, 1.0), (50.0, 2.0)]]) is None


def test_a_baseline_that_rose_above_its_end_on_the_way_needed_only_that_long() -> None:
    baseline = [[(0.0, 0.0), (50.0, 2.0), (100.0, 1.0)]]
    found = compare(baseline, [[(0.0, 0.0), (25.0, 1.0)]])
    assert found is not None
    assert found.ratio == 1.0
